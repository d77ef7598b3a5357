//! What loading rules would change, in words of `iptables-restore`.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::compile::CANARY;
use super::ours::{is_ours, is_shared};
use crate::xtables::text::{Chain, Normal, Rule, Tables};

/// What differs between the rules that are held and those that are wanted, as far as they are ours.
///
/// One line for each rule that would go (`-`) or come (`+`), below the name of its table. Ways of writing a rule
/// do not count. A rule at another place in its chain goes and comes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    lines: BTreeMap<String, Vec<String>>,
}

impl Difference {
    /// Compares what is held with what is wanted.
    pub fn new(held: &Tables, wanted: &Tables) -> Self {
        let mut difference = Self::default();
        for table in wanted.iter() {
            for chain in table.chains() {
                let is = held.chain(&table.name, &chain.name);
                let built_in = chain.policy.is_some();
                if is.is_none() && !built_in {
                    difference.add(&table.name, format!("+:{}", chain.name));
                }
                let is = is.map(|chain| chain.rules.as_slice()).unwrap_or_default();
                match built_in {
                    // Rules of others stand between ours.
                    true => difference.missing(&table.name, &chain.name, is, &chain.rules),
                    false => difference.compare(&table.name, &chain.name, is, &chain.rules),
                }
            }
        }
        for table in held.iter() {
            let unwanted = |chain: &&Chain| {
                is_ours(&table.name, &chain.name)
                    && chain.name != CANARY
                    && !is_shared(&table.name, &chain.name)
                    && wanted.chain(&table.name, &chain.name).is_none()
            };
            for chain in table.chains().iter().filter(unwanted) {
                difference.add(&table.name, format!("-:{}", chain.name));
                difference.compare(&table.name, &chain.name, &chain.rules, &[]);
            }
        }
        difference
    }

    /// Whether loading would change nothing.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn add(&mut self, table: &str, line: String) {
        self.lines.entry(table.to_owned()).or_default().push(line);
    }

    fn rule(&mut self, table: &str, sign: char, chain: &str, rule: &Rule) {
        self.add(table, format!("{sign}-A {chain} {rule}").trim_end().to_owned());
    }

    fn missing(&mut self, table: &str, chain: &str, is: &[Rule], wanted: &[Rule]) {
        let is: Vec<_> = is.iter().map(normal).collect();
        for rule in wanted.iter().filter(|rule| !is.contains(&normal(rule))) {
            self.rule(table, '+', chain, rule);
        }
    }

    /// Leaves out what both begin with and what both end with.
    fn compare(&mut self, table: &str, chain: &str, is: &[Rule], wanted: &[Rule]) {
        let same = |(one, other): &(&Rule, &Rule)| normal(one) == normal(other);
        let head = is.iter().zip(wanted).take_while(same).count();
        let (is, wanted) = (&is[head..], &wanted[head..]);
        let tail = is.iter().rev().zip(wanted.iter().rev()).take_while(same).count();
        is[..is.len() - tail].iter().for_each(|rule| self.rule(table, '-', chain, rule));
        wanted[..wanted.len() - tail].iter().for_each(|rule| self.rule(table, '+', chain, rule));
    }
}

/// The meaning of a rule; its text if that has none.
fn normal(rule: &Rule) -> Result<Normal, String> {
    rule.normal().map_err(|_| rule.to_string())
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (table, lines) in &self.lines {
            writeln!(f, "*{table}")?;
            lines.iter().try_for_each(|line| {
                f.write_str(line)?;
                f.write_char('\n')
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::iptables::scene::{Scene, service, slice};

    fn tables(endpoints: &[(&str, Option<&str>)]) -> Tables {
        let objects = [service("ns1", "svc1", "172.30.0.41", json!({})), slice("ns1", "svc1", endpoints)];
        Scene::new(&objects).tables()
    }

    #[test]
    fn another_way_of_writing_a_rule_is_no_difference() {
        let wanted = tables(&[("10.180.0.1", None)]);
        let saved = wanted.to_string().replace("--or-mark 0x004000", "--set-xmark 0x4000/0x4000");
        assert!(Difference::new(&Tables::parse(&saved).unwrap(), &wanted).is_empty());
    }

    #[test]
    fn what_goes_and_what_comes_is_named_with_its_table() {
        let (one, two) = (("10.180.0.1", None), ("10.180.0.2", None));
        let difference = Difference::new(&tables(&[one]), &tables(&[one, two])).to_string();
        let lines: Vec<_> = difference.lines().collect();
        assert_eq!(lines[0], "*nat");
        let signs: Vec<_> =
            lines[1..].iter().map(|line| (&line[..2], line.contains("10.180.0.2:80"))).collect();
        // Another probability of the first, then the chain of the second.
        assert_eq!(signs.len(), 6, "{difference}");
        assert!(
            signs.contains(&("+:", false)) && signs.contains(&("+-", true)) && signs.contains(&("--", false))
        );
        let back = Difference::new(&tables(&[one, two]), &tables(&[one])).to_string();
        assert!(back.contains("-:KUBE-SEP-") && back.contains("--A KUBE-SEP-"), "{back}");
    }

    #[test]
    fn rules_of_others_are_no_difference_and_lost_jumps_are() {
        let wanted = tables(&[("10.180.0.1", None)]);
        let mut held = wanted.clone();
        let rules = &mut held.table_mut("nat").chain_mut("PREROUTING").rules;
        rules.insert(0, Rule::new("-j CNI-HOSTPORT"));
        held.table_mut("nat").chain_mut("CNI-HOSTPORT");
        assert!(Difference::new(&held, &wanted).is_empty());
        held.table_mut("nat").chain_mut("PREROUTING").rules.clear();
        let difference = Difference::new(&held, &wanted).to_string();
        assert!(difference.starts_with("*nat\n+-A PREROUTING ") && difference.lines().count() == 2);
    }
}
