//! What came out of many questions, grouped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::dns::wanted::{Asked, reason};

/// How many examples of a group are shown.
const EXAMPLES: usize = 3;

/// What came out.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// How many questions were asked.
    pub questions: usize,
    /// To how many CoreDNS answers in different ways, so that nothing can be compared.
    pub by_chance: usize,
    /// How often each difference occurred that is on purpose.
    pub wanted: BTreeMap<&'static str, usize>,
    /// What differs by mistake: how often, and some examples.
    pub unwanted: BTreeMap<String, (usize, Vec<String>)>,
}

impl Verdicts {
    /// Compares the outcomes of a question and counts what differs.
    pub fn take(&mut self, asked: &Asked<'_>) {
        let mut unwanted = BTreeSet::new();
        for difference in asked.differences() {
            match reason(asked, &difference) {
                Some(reason) => *self.wanted.entry(reason).or_default() += 1,
                None => drop(unwanted.insert(difference.to_string())),
            }
        }
        if !unwanted.is_empty() {
            let example = format!(
                "{}: {}\n--- CoreDNS\n{}--- ours\n{}",
                asked.case.name,
                asked.question,
                asked.theirs.lines(asked.question),
                asked.ours.lines(asked.question)
            );
            self.fail(unwanted.into_iter().collect::<Vec<_>>().join(", "), example);
        }
    }

    /// Counts a mistake.
    pub fn fail(&mut self, what: String, example: String) {
        let (count, examples) = self.unwanted.entry(what).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(example);
        }
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.questions += other.questions;
        self.by_chance += other.by_chance;
        for (reason, count) in other.wanted {
            *self.wanted.entry(reason).or_default() += count;
        }
        for (what, (count, examples)) in other.unwanted {
            let (sum, all) = self.unwanted.entry(what).or_default();
            *sum += count;
            all.extend(examples);
            all.truncate(EXAMPLES);
        }
    }

    /// How often something differs by mistake.
    pub fn mistakes(&self) -> usize {
        self.unwanted.values().map(|(count, _)| count).sum()
    }

    /// Every group with its examples.
    pub fn details(&self) -> String {
        let mut groups: Vec<_> = self.unwanted.iter().collect();
        groups.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        let show = |(what, (count, examples)): (&String, &(usize, Vec<String>))| {
            let examples: String = examples.iter().map(|text| indented(text)).collect();
            format!("{count} times: {what}\n{examples}")
        };
        groups.into_iter().map(show).collect()
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

impl fmt::Display for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (questions, chance, mistakes) = (self.questions, self.by_chance, self.mistakes());
        write!(f, "{questions} questions, {mistakes} differences, {chance} answered by chance")?;
        for (reason, count) in &self.wanted {
            write!(f, "; {count} on purpose: {reason}")?;
        }
        Ok(())
    }
}
