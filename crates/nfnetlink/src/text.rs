//! Rulesets as `nft list table` prints them (nftables 1.0.6).
//!
//! Elements come sorted by key, where `nft` prints hash sets in the kernel's order. What we do not know comes
//! as a comment.

mod names;
mod rule;
mod set;
mod term;
mod value;

use std::fmt;

use crate::Family;
use crate::chain::{BaseChain, Hook};
use crate::rule::Rule;
use crate::ruleset::{HeldChain, Ruleset};

impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(table) = self.table() else { return Ok(()) };
        writeln!(f, "table {} {} {{", table.family, table.name)?;
        if !table.comment.is_empty() {
            writeln!(f, "\tcomment \"{}\"", table.comment)?;
        }
        let mut first = true;
        let mut separate = |f: &mut fmt::Formatter<'_>| match std::mem::take(&mut first) {
            true => Ok(()),
            false => writeln!(f),
        };
        for held in self.sets().filter(|held| !held.set.anonymous) {
            separate(f)?;
            set::declaration(held, f)?;
        }
        for held in self.chains() {
            separate(f)?;
            self.chain_text(table.family, held, f)?;
        }
        writeln!(f, "}}")
    }
}

impl Ruleset {
    fn chain_text(&self, family: Family, held: &HeldChain, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\tchain {} {{", held.chain.name)?;
        if !held.chain.comment.is_empty() {
            writeln!(f, "\t\tcomment \"{}\"", held.chain.comment)?;
        }
        if let Some(base) = held.chain.base {
            writeln!(f, "\t\t{}", base_text(base))?;
        }
        for rule in &held.rules {
            writeln!(f, "\t\t{}", rule::text(self, family, rule))?;
        }
        writeln!(f, "\t}}")
    }

    /// A rule of this table as `nft list` prints it, with the elements of its anonymous sets.
    pub fn rule_text(&self, rule: &Rule) -> String {
        rule::text(self, self.table().map_or(Family::Inet, |table| table.family), rule)
    }
}

fn base_text(base: BaseChain) -> String {
    format!(
        "type {} hook {} priority {}; policy {};",
        base.kind.name(),
        base.hook.name(),
        priority_text(base.hook, base.priority),
        if base.drop { "drop" } else { "accept" }
    )
}

/// Standard priorities of the families `ip`, `ip6` and `inet`, and the one hook that some belong to.
const PRIORITIES: [(&str, i32, Option<Hook>); 6] = [
    ("raw", -300, None),
    ("mangle", -150, None),
    ("dstnat", -100, Some(Hook::Prerouting)),
    ("filter", 0, None),
    ("security", 50, None),
    ("srcnat", 100, Some(Hook::Postrouting)),
];
/// How far from a standard priority `nft` still tells the distance instead of the number.
const NEAR: u32 = 10;

fn priority_text(hook: Hook, priority: i32) -> String {
    let near = PRIORITIES.iter().find(|(_, standard, only)| {
        only.is_none_or(|only| only == hook) && priority.abs_diff(*standard) <= NEAR
    });
    match near {
        None => priority.to_string(),
        Some((name, standard, _)) => match priority - standard {
            0 => (*name).to_owned(),
            above @ 1.. => format!("{name} + {above}"),
            below => format!("{name} - {}", -below),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_a_comment() {
        use crate::Expr;
        let known = Expr::Verdict(crate::Verdict::Drop);
        let rule = Rule::new(
            "c",
            vec![known, Expr::Unknown("limit".into()), Expr::contained("gone", crate::expr::Register(0))],
        );
        let text = Ruleset::new().rule_text(&rule);
        assert_eq!(text, "drop # not known here: limit, lookup");
    }

    #[test]
    fn priorities_near_a_standard_one_are_told_by_their_distance() {
        for (hook, priority, text) in [
            (Hook::Prerouting, -100, "dstnat"),
            (Hook::Prerouting, -110, "dstnat - 10"),
            (Hook::Prerouting, -111, "-111"),
            (Hook::Output, -100, "-100"),
            (Hook::Forward, 5, "filter + 5"),
            (Hook::Postrouting, 100, "srcnat"),
            (Hook::Prerouting, 100, "100"),
        ] {
            assert_eq!(priority_text(hook, priority), text);
        }
    }
}
