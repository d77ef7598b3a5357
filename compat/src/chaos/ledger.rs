//! What was written and acknowledged, and whether what somebody sees agrees with it.
//!
//! Of each object there is one writer, which waits for an answer before it writes again. So the object goes through
//! the states of that list in this order, and leaves out none that was acknowledged; a write without an answer may
//! have happened or not. A list may show any state that is not older than the last one seen; an event must be the next.

use std::collections::{BTreeMap, BTreeSet};

/// What is in an object; none if there is no such object.
pub(crate) type State = Option<u64>;

#[derive(Debug)]
struct Write {
    to: State,
    acknowledged: bool,
}

/// The writes to one object since `begin` was seen, and how many of them somebody has seen.
#[derive(Debug, Default)]
struct History {
    begin: State,
    writes: Vec<Write>,
    /// All counts that agree with what was seen; several, as an object may be absent more than once.
    seen: BTreeSet<usize>,
}

impl History {
    fn after(&self, count: usize) -> State {
        count.checked_sub(1).map_or(self.begin, |last| self.writes[last].to)
    }

    fn may_be_skipped(&self, from: usize, to: usize) -> bool {
        self.writes[from..to].iter().all(|write| !write.acknowledged)
    }

    /// Where the object is after an event with this state.
    fn follow(&self, state: State) -> BTreeSet<usize> {
        let next = |from: usize| {
            (from..self.writes.len())
                .find(|at| self.writes[*at].to == state && self.may_be_skipped(from, *at))
        };
        self.seen.iter().filter_map(|from| next(*from)).map(|at| at + 1).collect()
    }

    /// Where the object is if a list that was made after all that was seen has this state.
    fn jump(&self, state: State) -> BTreeSet<usize> {
        let first = self.seen.first().copied().unwrap_or_default();
        (first..=self.writes.len()).filter(|count| self.after(*count) == state).collect()
    }

    /// The states in which the object may be now.
    fn allowed(&self) -> Vec<State> {
        let sure = self.writes.iter().rposition(|write| write.acknowledged).map_or(0, |last| last + 1);
        (sure..=self.writes.len()).map(|count| self.after(count)).collect()
    }

    /// Whether everything that was acknowledged has been seen.
    fn is_caught_up(&self) -> bool {
        self.seen.iter().any(|from| self.may_be_skipped(*from, self.writes.len()))
    }
}

/// All objects that are written.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    histories: BTreeMap<String, History>,
    /// How many writes were acknowledged.
    pub(crate) acknowledged: usize,
    /// What contradicts an acknowledged write.
    pub(crate) violations: Vec<String>,
}

impl Ledger {
    /// A write is about to be sent.
    pub(crate) fn begin(&mut self, name: &str, to: State) {
        let history = self
            .histories
            .entry(name.to_owned())
            .or_insert_with(|| History { seen: BTreeSet::from([0]), ..History::default() });
        history.writes.push(Write { to, acknowledged: false });
    }

    /// The last write was answered with success.
    pub(crate) fn acknowledge(&mut self, name: &str) {
        if let Some(write) = self.histories.get_mut(name).and_then(|history| history.writes.last_mut()) {
            write.acknowledged = true;
            self.acknowledged += 1;
        }
    }

    /// The last write was refused, which says that it did not happen.
    pub(crate) fn refuse(&mut self, name: &str, why: &str) {
        let Some(history) = self.histories.get_mut(name) else { return };
        history.writes.pop();
        let left = history.writes.len();
        history.seen.retain(|count| *count <= left);
        if history.seen.is_empty() {
            history.seen.insert(left);
            self.violations.push(format!("{name}: a write was seen and then refused: {why}"));
        }
    }

    /// An event showed this state.
    pub(crate) fn event(&mut self, name: &str, state: State) {
        self.see(name, state, "an event shows", History::follow);
    }

    /// A list, made after all events so far, has these objects.
    pub(crate) fn listed(&mut self, objects: &BTreeMap<String, u64>) {
        let names: Vec<String> = self.histories.keys().chain(objects.keys()).cloned().collect();
        for name in names {
            self.see(&name, objects.get(&name).copied(), "a new list of the watcher shows", History::jump);
        }
    }

    fn see(
        &mut self,
        name: &str,
        state: State,
        what: &str,
        place: impl Fn(&History, State) -> BTreeSet<usize>,
    ) {
        let Some(history) = self.histories.get_mut(name) else {
            self.violations.push(format!("{name}: {what} {}, and nobody has written it", show(state)));
            return;
        };
        let places = place(history, state);
        if places.is_empty() {
            let known: Vec<String> = history.seen.iter().map(|count| show(history.after(*count))).collect();
            let tail = history.writes.iter().rev().take(5).rev();
            let tail: Vec<String> = tail
                .map(|write| show(write.to) + if write.acknowledged { "" } else { " (without an answer)" })
                .collect();
            self.violations.push(format!(
                "{name}: {what} {} after {}; the last writes: {}",
                show(state),
                known.join(" or "),
                tail.join(", ")
            ));
            // From here on it is followed anew.
            let all: BTreeSet<usize> =
                (0..=history.writes.len()).filter(|count| history.after(*count) == state).collect();
            history.seen = if all.is_empty() { BTreeSet::from([history.writes.len()]) } else { all };
            return;
        }
        history.seen = places;
    }

    /// Compares a list with everything that was acknowledged; no write may be under way.
    pub(crate) fn compare(&self, objects: &BTreeMap<String, u64>) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, history) in &self.histories {
            let (found, allowed) = (objects.get(name).copied(), history.allowed());
            if !allowed.contains(&found) {
                let allowed: Vec<String> = allowed.into_iter().map(show).collect();
                wrong.push(format!("{name} is {} and must be {}", show(found), allowed.join(" or ")));
            }
        }
        let unknown = objects.keys().filter(|name| !self.histories.contains_key(*name));
        wrong.extend(unknown.map(|name| format!("{name} is there and was never written")));
        wrong
    }

    /// The objects of which the watcher has not seen every acknowledged write.
    pub(crate) fn behind(&self) -> Vec<&str> {
        let behind = self.histories.iter().filter(|(_, history)| !history.is_caught_up());
        behind.map(|(name, _)| name.as_str()).collect()
    }

    /// Forgets what led to states that have been seen.
    pub(crate) fn forget(&mut self) {
        for history in self.histories.values_mut() {
            let end = history.writes.len();
            if history.seen.last() == Some(&end) {
                history.begin = history.after(end);
                history.writes.clear();
                history.seen = BTreeSet::from([0]);
            }
        }
    }
}

fn show(state: State) -> String {
    state.map_or_else(|| "absent".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "a";

    fn written(writes: &[(State, bool)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (to, acknowledged) in writes {
            ledger.begin(A, *to);
            if *acknowledged {
                ledger.acknowledge(A);
            }
        }
        ledger
    }

    fn list(state: State) -> BTreeMap<String, u64> {
        state.map(|value| (A.to_owned(), value)).into_iter().collect()
    }

    #[test]
    fn an_event_must_be_the_next_acknowledged_write() {
        let writes = [(Some(1), true), (Some(2), true), (None, true), (Some(3), true)];
        let events = |events: &[State]| {
            let mut ledger = written(&writes);
            for event in events {
                ledger.event(A, *event);
            }
            (ledger.violations.len(), ledger.behind().len())
        };
        assert_eq!(events(&[Some(1), Some(2), None, Some(3)]), (0, 0));
        assert_eq!(events(&[Some(1), Some(2)]), (0, 1), "the rest has not come yet");
        assert_eq!(events(&[Some(1), None]).0, 1, "a gap");
        assert_eq!(events(&[Some(1), Some(2), Some(1)]).0, 1, "an old state");
        assert_eq!(events(&[Some(1), Some(1)]).0, 1, "twice");
    }

    #[test]
    fn a_write_without_an_answer_may_have_happened_or_not() {
        for (state, right) in [(Some(1), true), (Some(2), true), (None, false), (Some(3), false)] {
            let ledger = written(&[(Some(1), true), (Some(2), false)]);
            assert_eq!(ledger.compare(&list(state)).is_empty(), right, "{state:?}");
        }
        let mut ledger = written(&[(Some(1), true), (Some(2), false), (None, true)]);
        ledger.event(A, Some(1));
        ledger.event(A, None);
        assert!(ledger.violations.is_empty() && ledger.behind().is_empty());
    }

    #[test]
    fn what_was_deleted_does_not_rise_again_also_after_it_was_forgotten() {
        let mut ledger = written(&[(Some(1), true), (None, true)]);
        ledger.event(A, Some(1));
        ledger.event(A, None);
        assert!(!ledger.compare(&list(Some(1))).is_empty());
        ledger.forget();
        assert!(!ledger.compare(&list(Some(1))).is_empty());
        ledger.event(A, Some(1));
        assert_eq!(ledger.violations.len(), 1);
        assert!(ledger.compare(&list(None)).is_empty());
    }

    #[test]
    fn a_list_may_leave_out_events_and_never_goes_back() {
        let writes = [(Some(1), true), (None, true), (Some(2), true), (None, true), (Some(3), true)];
        let mut ledger = written(&writes);
        ledger.event(A, Some(1));
        ledger.listed(&list(None));
        ledger.event(A, Some(3));
        assert!(ledger.violations.is_empty(), "the list was made after the second deletion");
        ledger.listed(&list(Some(2)));
        assert_eq!(ledger.violations.len(), 1);
    }

    #[test]
    fn a_refused_write_must_not_be_seen() {
        let mut ledger = written(&[(Some(1), true), (Some(2), false)]);
        ledger.event(A, Some(1));
        ledger.refuse(A, "full");
        assert!(ledger.violations.is_empty());
        assert!(ledger.compare(&list(Some(1))).is_empty() && !ledger.compare(&list(Some(2))).is_empty());
        ledger.begin(A, Some(3));
        ledger.event(A, Some(3));
        ledger.refuse(A, "full");
        assert_eq!(ledger.violations.len(), 1);
    }
}
