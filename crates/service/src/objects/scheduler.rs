//! How the kernel's IPVS shares connections out: the annotation `portolan.dev/scheduler`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::problem::Problems;

/// Annotation on a Service.
const SCHEDULER: &str = "portolan.dev/scheduler";

/// A scheduler of IPVS (`man ipvsadm`). Only ipvs mode asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub enum Scheduler {
    /// `rr`: one after the other.
    #[default]
    RoundRobin,
    /// `wrr`: the same, as often as weights say.
    WeightedRoundRobin,
    /// `lc`: the one with the fewest connections.
    LeastConnection,
    /// `wlc`: the fewest for its weight.
    WeightedLeastConnection,
    /// `lblc`: by destination, unless that one has too many connections.
    LocalityBasedLeastConnection,
    /// `lblcr`: the same with several for each destination.
    LocalityBasedLeastConnectionWithReplication,
    /// `sh`: by a hash of the client.
    SourceHashing,
    /// `dh`: by a hash of the destination.
    DestinationHashing,
    /// `sed`: the shortest expected delay.
    ShortestExpectedDelay,
    /// `nq`: an idle one, else the shortest expected delay.
    NeverQueue,
    /// `mh`: by Maglev hashing of client and port.
    MaglevHashing,
}

/// A word that names no scheduler.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq, mh")]
pub struct UnknownScheduler(pub String);

impl Scheduler {
    /// All of them, with the kernel's words.
    pub const ALL: [(&'static str, Self); 11] = [
        ("rr", Self::RoundRobin),
        ("wrr", Self::WeightedRoundRobin),
        ("lc", Self::LeastConnection),
        ("wlc", Self::WeightedLeastConnection),
        ("lblc", Self::LocalityBasedLeastConnection),
        ("lblcr", Self::LocalityBasedLeastConnectionWithReplication),
        ("sh", Self::SourceHashing),
        ("dh", Self::DestinationHashing),
        ("sed", Self::ShortestExpectedDelay),
        ("nq", Self::NeverQueue),
        ("mh", Self::MaglevHashing),
    ];

    /// The kernel's word.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, scheduler)| *scheduler == self).map_or("", |(name, _)| name)
    }

    /// What the annotations of a Service ask for; `None` leaves it to the proxy.
    pub(crate) fn read(annotations: &BTreeMap<String, String>, problems: &mut Problems) -> Option<Self> {
        let word = annotations.get(SCHEDULER)?;
        let read = word.parse();
        if let Err(error) = &read {
            let UnknownScheduler(word) = error;
            let field = format!("metadata.annotations[{SCHEDULER}]");
            let why =
                "is not one of rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq, mh; the proxy's own is used";
            problems.note(field, format!("{word:?}"), why);
        }
        read.ok()
    }
}

impl FromStr for Scheduler {
    type Err = UnknownScheduler;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|(name, _)| *name == word);
        found.map(|(_, scheduler)| *scheduler).ok_or_else(|| UnknownScheduler(word.to_owned()))
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_scheduler_leaves_the_choice_to_the_proxy_and_says_so() {
        let read = |word: &str| {
            let mut problems = Problems::default();
            let annotations = BTreeMap::from([(SCHEDULER.to_owned(), word.to_owned())]);
            (Scheduler::read(&annotations, &mut problems), problems.iter().count())
        };
        for (word, scheduler) in Scheduler::ALL {
            assert_eq!(read(word), (Some(scheduler), 0));
            assert_eq!(scheduler.to_string(), word);
        }
        assert_eq!(read("RR"), (None, 1));
        assert_eq!(Scheduler::read(&BTreeMap::new(), &mut Problems::default()), None);
    }
}
