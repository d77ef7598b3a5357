#!/bin/sh
# Runs a program as root in a virtual machine whose kernel has what this machine's may lack (IPVS, dummy interfaces).
# The machine sees this one's files read-only, and has no network but what the program makes.
#   usage: vm.sh PROGRAM [ARGUMENT...]     PROGRAM is an absolute path
# Ends as the program ends; with 77 and a sentence when no virtual machine can be had.
set -u

# Kernel packages are kept here between runs.
CACHE=${PORTOLAN_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/portolan/vm}
SECONDS_AT_MOST=${PORTOLAN_VM_SECONDS:-240}
BOOT_SECONDS=30
UNAVAILABLE=77

# What is needed before the files are there, and what programs may ask for.
BOOT_MODULES="virtio_mmio 9p 9pnet_virtio"
MODULES="ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_wlc ip_vs_sh ip_vs_mh dummy veth
    xt_set ip_set_hash_ip ip_set_hash_ipport ip_set_hash_ipportip ip_set_hash_ipportnet ip_set_bitmap_port
    xt_comment xt_mark xt_MASQUERADE xt_addrtype xt_conntrack xt_physdev xt_ipvs xt_nfacct xt_tcpudp
    ipt_REJECT ip6t_REJECT iptable_nat iptable_filter iptable_mangle ip6table_nat ip6table_filter
    nf_tables nft_compat nft_chain_nat nf_conntrack_netlink"

unavailable() {
    echo "vm.sh: $*" >&2
    exit $UNAVAILABLE
}

# The newest kernel that this distribution has, as its version.
newest_kernel() {
    case $(uname -m) in
        x86_64) ;;
        *) unavailable "virtual machines are made for x86_64 only" ;;
    esac
    apt-cache search --names-only '^linux-image-(unsigned-)?[0-9][0-9.-]*(\+deb[0-9]+)?-(amd64|generic)$' 2>/dev/null |
        sed -n 's/^linux-image-\(unsigned-\)\{0,1\}\([^ ]*\) .*/\2/p' | sort -V | tail -n 1
}

fetch_kernel() { # VERSION DIRECTORY
    work=$(mktemp -d)
    for package in "linux-image-$1" "linux-image-unsigned-$1" "linux-modules-$1" "linux-modules-extra-$1"; do
        (cd "$work" && apt-get download -q "$package" >/dev/null 2>&1)
    done
    mkdir "$work/root"
    for file in "$work"/*.deb; do
        [ -e "$file" ] && dpkg-deb -x "$file" "$work/root"
    done
    if [ -e "$work/root/boot/vmlinuz-$1" ] && depmod -b "$work/root" "$1"; then
        mkdir -p "$(dirname "$2")"
        mv "$work/root" "$2"
    fi
    rm -rf "$work"
    [ -d "$2" ]
}

[ $# -ge 1 ] || { echo "usage: vm.sh PROGRAM [ARGUMENT...]" >&2; exit 2; }
for program in qemu-system-x86_64 busybox cpio modprobe depmod dpkg-deb apt-get; do
    command -v $program >/dev/null 2>&1 ||
        unavailable "$program is missing; scripts/need.sh vm installs it"
done
ldd "$(command -v busybox)" 2>&1 | grep -q 'not a dynamic' || unavailable "busybox is not the static one"

kernel=$(find "$CACHE" -mindepth 1 -maxdepth 1 -type d 2>/dev/null | sort -V | tail -n 1)
if [ -z "$kernel" ]; then
    version=$(newest_kernel)
    [ -n "$version" ] || unavailable "no kernel package was found; try: apt-get update"
    kernel=$CACHE/$version
    fetch_kernel "$version" "$kernel" || unavailable "the kernel $version could not be downloaded"
fi
version=$(basename "$kernel")

initial=$(mktemp -d)
trap 'rm -rf "$initial"' EXIT
mkdir "$initial/bin" "$initial/modules" "$initial/root"
for directory in proc sys dev newroot; do mkdir "$initial/root/$directory"; done
mv "$initial/bin" "$initial/modules" "$initial/root/"
cp "$(command -v busybox)" "$initial/root/bin/busybox"

count=100
for file in $(for module in $BOOT_MODULES; do
    modprobe -d "$kernel" -S "$version" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | awk '!seen[$0]++'); do
    count=$((count + 1))
    case $file in
        *.xz) xz -dc "$file" ;;
        *.zst) zstd -qdc "$file" ;;
        *) cat "$file" ;;
    esac >"$initial/root/modules/$count.ko"
done

quoted=
for word; do
    quoted="$quoted '$(printf %s "$word" | sed "s/'/'\\\\''/g")'"
done
cat >"$initial/root/start" <<END
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run
modprobe -q -a -d '$kernel' $(echo $MODULES)
cd /
echo 'vm.sh: started'
$quoted
echo "vm.sh: ended with \$?"
/run/busybox poweroff -f
END
# Folders that the program needs, which the machine's own temporary ones would hide.
for kept in "$(dirname "$1")" "$kernel"; do
    cat >>"$initial/root/kept" <<END
\$b mkdir -p '/newroot$kept'
\$b mount -o bind '/seen$kept' '/newroot$kept'
END
done
cat >"$initial/root/init" <<'END'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod $module; done
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=524288 files /newroot
for kind in proc sysfs devtmpfs; do
    case $kind in
        proc) at=proc ;;
        sysfs) at=sys ;;
        devtmpfs) at=dev ;;
    esac
    $b mount -t $kind $kind /newroot/$at
done
$b mkdir /seen
$b mount -o bind /newroot /seen
for at in run tmp var/tmp; do $b mount -t tmpfs tmpfs /newroot/$at; done
. /kept
$b cp /bin/busybox /start /newroot/run/
exec $b chroot /newroot /bin/sh /run/start
END
chmod +x "$initial/root/init"
(cd "$initial/root" && find . | cpio -o -H newc 2>/dev/null) | gzip -1 >"$initial/initial.gz"

# Emulated, since what a machine that is virtual itself offers as KVM may not work.
start_machine() {
    qemu-system-x86_64 \
        -M microvm,accel=tcg,x-option-roms=off,rtc=on -cpu max -smp 2 -m 1024 \
        -nodefaults -no-user-config -display none -serial stdio -no-reboot \
        -kernel "$kernel/boot/vmlinuz-$version" -initrd "$initial/initial.gz" \
        -fsdev local,path=/,id=files,security_model=none,readonly=on,multidevs=remap \
        -device virtio-9p-device,fsdev=files,mount_tag=files \
        -append "console=ttyS0 panic=-1 loglevel=3 mitigations=off nokaslr" \
        </dev/null >"$initial/output" 2>&1 &
    machine=$!
}

# Waits until the output has a line or the machine has ended, but not for ever.
wait_for() { # PATTERN SECONDS
    tenths=$(($2 * 10))
    while [ $tenths -gt 0 ] && kill -0 "$machine" 2>/dev/null && ! grep -q "$1" "$initial/output"; do
        sleep 0.1
        tenths=$((tenths - 1))
    done
    grep -q "$1" "$initial/output"
}

stop_machine() {
    kill "$machine" 2>/dev/null
    wait "$machine" 2>/dev/null
}
trap 'stop_machine; rm -rf "$initial"' EXIT
trap 'exit 1' INT TERM

# An emulated machine that shares its processors with others sometimes stops while it measures its clock.
for _ in 1 2 3 4 5; do
    start_machine
    wait_for '^vm.sh: started' "$BOOT_SECONDS" && break
    stop_machine
done
grep -q '^vm.sh: started' "$initial/output" || unavailable "the virtual machine did not start in five attempts"
wait_for '^vm.sh: ended' "$SECONDS_AT_MOST" || echo "vm.sh: it did not end within $SECONDS_AT_MOST s" >&2
tr -d '\r' <"$initial/output"
ended=$(tr -d '\r' <"$initial/output" | sed -n 's/^vm.sh: ended with \([0-9]*\)$/\1/p' | tail -n 1)
exit "${ended:-1}"
