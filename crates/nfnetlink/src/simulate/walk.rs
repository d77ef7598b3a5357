//! The way of one packet from hook to hook and chain to chain.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::machine::{Flow, HashKey, Registers};
use super::{Action, Branch, Fate, Host, Packet, Simulator, Step, Unsupported};
use crate::Family;
use crate::chain::{ChainType, Hook};
use crate::expr::Register;
use crate::rule::Rule;
use crate::ruleset::{HeldChain, Ruleset};
use crate::verdict::Verdict;

/// Nested jumps that the kernel allows (`NFT_JUMP_STACK_SIZE`).
const JUMPS: usize = 16;
/// Expressions after which a walk is taken for endless. The kernel refuses rules that lead in a circle; a
/// ruleset value does not.
const EXPRESSIONS: usize = 1 << 20;

/// Ways that may be open at a time.
const BRANCHES: usize = 1 << 20;

/// A packet on its way.
#[derive(Debug, Clone)]
pub(super) struct Walk<'a> {
    /// The packet as it is now.
    pub(super) packet: Packet,
    /// Where it was sent to.
    pub(super) original: SocketAddr,
    pub(super) mark: u32,
    pub(super) translated: bool,
    pub(super) masqueraded: bool,
    pub(super) redirected: bool,
    pub(super) registers: Registers,
    /// Numbers that hashes gave.
    pub(super) hashes: Vec<(HashKey, u32)>,
    probability: f64,
    steps: Vec<Step<'a>>,
    /// Where it is, and how many base chains of that hook it has been through.
    hook: Option<(Hook, usize)>,
    /// Whether this hook's translation is set up, so that its other nat chains are not asked.
    settled: bool,
    /// Whether it left this machine for this machine.
    looped: bool,
    from_here: bool,
    ruleset: Option<&'a Ruleset>,
    table: usize,
    /// Whether the base chain drops what no rule decides.
    policy_drops: bool,
    frames: Vec<Frame<'a>>,
    evaluated: usize,
}

/// A place in a chain.
#[derive(Debug, Clone, Copy)]
struct Frame<'a> {
    chain: &'a HeldChain,
    rule: usize,
    expression: usize,
}

impl<'a> Frame<'a> {
    fn new(chain: &'a HeldChain) -> Self {
        Self { chain, rule: 0, expression: 0 }
    }

    fn skip_rule(&mut self) {
        self.rule += 1;
        self.expression = 0;
    }

    fn current(&self) -> Option<&'a Rule> {
        self.chain.rules.get(self.rule)
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(packet: Packet) -> Self {
        Self {
            original: SocketAddr::new(packet.destination, packet.port),
            packet,
            mark: 0,
            translated: false,
            masqueraded: false,
            redirected: false,
            registers: Registers::default(),
            hashes: Vec::new(),
            probability: 1.0,
            steps: Vec::new(),
            hook: None,
            settled: false,
            looped: false,
            from_here: false,
            ruleset: None,
            table: 0,
            policy_drops: false,
            frames: Vec::new(),
            evaluated: 0,
        }
    }

    /// Family of the packet.
    pub(super) fn family(&self) -> Family {
        if self.packet.destination.is_ipv4() { Family::Ip } else { Family::Ip6 }
    }

    /// Name of the interface it came by.
    pub(super) fn interface(&self) -> Option<&str> {
        match (self.from_here, self.looped) {
            (true, true) => Some("lo"),
            (true, false) => None,
            (false, _) => self.packet.interface.as_deref(),
        }
    }

    /// The address that a redirected packet goes to.
    pub(super) fn own_address(&self, host: &Host) -> IpAddr {
        let loopback = match self.family() {
            Family::Ip6 => Ipv6Addr::LOCALHOST.into(),
            _ => Ipv4Addr::LOCALHOST.into(),
        };
        let own = host.addresses.iter().find(|own| own.is_ipv4() == self.packet.destination.is_ipv4());
        if self.from_here { loopback } else { own.copied().unwrap_or(loopback) }
    }

    /// Notes what the current rule did.
    pub(super) fn note(&mut self, action: Action<'a>) {
        if let (Some(ruleset), Some(frame)) = (self.ruleset, self.frames.last()) {
            let (chain, rule) = (frame.chain.chain.name.as_str(), frame.current());
            self.steps.push(Step { ruleset, chain, rule, action });
        }
    }

    fn end(self, fate: Fate) -> Branch<'a> {
        Branch { probability: self.probability, fate, steps: self.steps }
    }

    fn pass(self) -> Branch<'a> {
        let fate = Fate::Passed {
            destination: SocketAddr::new(self.packet.destination, self.packet.port),
            translated: self.translated,
            masqueraded: self.masqueraded,
            redirected: self.redirected,
        };
        self.end(fate)
    }

    fn skip_rule(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.skip_rule();
        }
    }

    /// At the end of a chain: back to the rule behind the jump to it or, out of a base chain, as its policy
    /// says.
    fn leave_chain(&mut self) -> Option<Fate> {
        let frame = self.frames.pop()?;
        if !self.frames.is_empty() || !self.policy_drops {
            return None;
        }
        let chain = frame.chain.chain.name.as_str();
        self.steps.extend(self.ruleset.map(|ruleset| Step {
            ruleset,
            chain,
            rule: None,
            action: Action::PolicyDrop,
        }));
        Some(Fate::Dropped)
    }

    /// Follows a verdict that does not end the packet's way. `None` if it leads nowhere or too deep.
    fn decide(&mut self, verdict: &'a Verdict) -> Option<()> {
        match verdict {
            Verdict::Accept | Verdict::Drop => self.frames.clear(),
            Verdict::Return => {
                let frame = self.frames.last_mut()?;
                frame.rule = frame.chain.rules.len();
            }
            Verdict::Jump(name) | Verdict::Goto(name) => {
                let target = self.ruleset?.chain(name)?;
                self.skip_rule();
                if matches!(verdict, Verdict::Goto(_)) {
                    self.frames.pop();
                }
                if self.frames.len() > JUMPS {
                    return None;
                }
                self.frames.push(Frame::new(target));
            }
        }
        Some(())
    }

    /// Goes on with the first of the numbers that chance may give; copies go on with the others later.
    /// `None` if that would be too many.
    fn split(
        &mut self,
        to: Register,
        modulus: u32,
        offset: u32,
        memory: Option<HashKey>,
        pending: &mut Vec<Self>,
    ) -> Option<()> {
        let modulus = modulus.max(1);
        if pending.len() + modulus as usize > BRANCHES {
            return None;
        }
        self.probability /= f64::from(modulus);
        for number in (0..modulus).rev() {
            let mut other = (number > 0).then(|| self.clone());
            let way = other.as_mut().unwrap_or(self);
            way.hashes.extend(memory.clone().map(|key| (key, number)));
            way.choose(to, offset, number, modulus)?;
            pending.extend(other);
        }
        Some(())
    }

    /// The hook after this one; `None` at the end of the way.
    fn next_hook(&mut self, host: &Host) -> Option<Hook> {
        let to_here = host.is_local(self.packet.destination);
        match self.hook.map(|(hook, _)| hook) {
            None => {
                self.from_here = host.is_local(self.packet.source);
                Some(if self.from_here { Hook::Output } else { Hook::Prerouting })
            }
            Some(Hook::Prerouting) => Some(if to_here { Hook::Input } else { Hook::Forward }),
            Some(Hook::Forward | Hook::Output) => Some(Hook::Postrouting),
            Some(Hook::Postrouting) if self.from_here && to_here && !self.looped => {
                self.looped = true;
                Some(Hook::Prerouting)
            }
            Some(Hook::Postrouting | Hook::Input) => None,
        }
    }
}

impl<'a> Simulator<'a> {
    /// Follows a packet to its end. Other ways that chance opens are left in `pending`.
    pub(super) fn follow(
        &self,
        mut walk: Walk<'a>,
        host: &Host,
        pending: &mut Vec<Walk<'a>>,
    ) -> Result<Branch<'a>, Unsupported> {
        loop {
            let Some(frame) = walk.frames.last_mut() else {
                if !self.enter(&mut walk, host) {
                    return Ok(walk.pass());
                }
                continue;
            };
            let Some(rule) = frame.current() else {
                if let Some(fate) = walk.leave_chain() {
                    return Ok(walk.end(fate));
                }
                continue;
            };
            let Some(expression) = rule.expressions.get(frame.expression) else {
                frame.skip_rule();
                continue;
            };
            frame.expression += 1;
            walk.evaluated += 1;
            let flow = walk.evaluate(expression, &self.sets[walk.table], host);
            let goes_on = flow.filter(|_| walk.evaluated < EXPRESSIONS).and_then(|flow| match flow {
                Flow::Next => Some(None),
                Flow::NoMatch => {
                    walk.skip_rule();
                    Some(None)
                }
                Flow::Split { to, modulus, offset, memory } => {
                    walk.split(to, modulus, offset, memory, pending).map(|()| None)
                }
                Flow::Translated => {
                    walk.settled = true;
                    walk.frames.clear();
                    Some(None)
                }
                Flow::Rejected(reject) => Some(Some(Fate::Rejected(reject))),
                Flow::Verdict(Verdict::Drop) => Some(Some(Fate::Dropped)),
                Flow::Verdict(verdict) => walk.decide(verdict).map(|()| None),
            });
            match goes_on {
                Some(None) => {}
                Some(Some(fate)) => return Ok(walk.end(fate)),
                None => return Err(self.unsupported(&walk, rule, expression.name())),
            }
        }
    }

    /// Enters the next base chain; `false` at the end of the way.
    fn enter(&self, walk: &mut Walk<'a>, host: &Host) -> bool {
        loop {
            if let Some((hook, done)) = walk.hook {
                let family = walk.family();
                let skip = |base: &&super::Base<'a>| {
                    let seen = self.tables[base.table].table().map(|table| table.family);
                    let nat = base.base.kind == ChainType::Nat;
                    // A translated connection asks no nat chain again.
                    !seen.is_some_and(|seen| seen == Family::Inet || seen == family)
                        || nat && (walk.settled || walk.looped)
                };
                let mut rest = self.bases_of(hook).enumerate().skip(done);
                if let Some((index, base)) = rest.find(|(_, base)| !skip(base)) {
                    walk.hook = Some((hook, index + 1));
                    walk.table = base.table;
                    walk.ruleset = Some(self.tables[base.table]);
                    walk.policy_drops = base.base.drop;
                    walk.frames.push(Frame::new(base.chain));
                    return true;
                }
            }
            let Some(hook) = walk.next_hook(host) else { return false };
            walk.hook = Some((hook, 0));
            walk.settled = false;
        }
    }

    fn unsupported(&self, walk: &Walk<'a>, rule: &Rule, expression: &str) -> Unsupported {
        let ruleset = self.tables[walk.table];
        Unsupported {
            table: ruleset
                .table()
                .map(|table| format!("{} {}", table.family, table.name))
                .unwrap_or_default(),
            chain: rule.chain.clone(),
            rule: ruleset.rule_text(rule),
            expression: expression.to_owned(),
        }
    }
}
