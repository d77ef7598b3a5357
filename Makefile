# Two commands set everything up: `make demo` and `make test`. Both say what they install first.

.PHONY: demo test lint bench compat chaos fuzz audit release clean

demo:
	@scripts/need.sh root cargo tools
	cargo build --release --package portolan
	@target/release/portolan demo

test: lint
	@scripts/need.sh cargo tools tests
	@scripts/need.sh resolvers || echo "without these, not all resolvers are tried as clients of the DNS server"
	@scripts/need.sh vm || echo "without these, ipvs mode is not tested in a virtual machine"
	cargo build --package portolan
	cargo test --workspace

lint:
	@scripts/need.sh cargo
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

bench:
	@scripts/need.sh root cargo tools tests bench dns-bench
	bench/run.sh

compat:
	@scripts/need.sh root cargo tests
	compat/peers.sh target/peers
	cargo build --package portolan --package compat
	target/debug/compat proxy
	target/debug/compat dns --most 2000
	target/debug/compat deploy

# Everything around a cluster fails, for ten minutes; `make chaos MINUTES=60` for longer.
MINUTES = 10
chaos:
	@scripts/need.sh root cargo tools tests
	cargo build --package portolan --package compat
	target/debug/compat chaos --minutes $(MINUTES)

# A minute for each target; `fuzz/run.sh SECONDS TARGET` for longer and for one.
fuzz:
	@scripts/need.sh cargo fuzz
	fuzz/run.sh

# Licences, advisories, yanked versions and duplicates of all dependencies; deny.toml says what is accepted.
audit:
	@scripts/need.sh cargo audit
	cargo deny --all-features check

# A static program and an image archive, in target/dist.
release:
	@scripts/need.sh cargo release
	scripts/release.sh

clean:
	cargo clean
