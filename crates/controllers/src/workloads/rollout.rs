//! How far a Deployment's ReplicaSets may be scaled in one step: pure. Sums of numbers that users choose are made in 64
//! bits, where 2147483647 and a surge of as much have room.

use k8s_openapi::api::apps::v1::DeploymentStrategy;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// One ReplicaSet of a Deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    /// The number it is asked for.
    pub(super) wanted: i32,
    /// The number that is there.
    pub(super) present: i32,
    /// The number that is available.
    pub(super) available: i32,
}

/// What the sets should be asked for next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) new: i32,
    /// In the order in which the old sets were given.
    pub(super) old: Vec<i32>,
}

/// How many pods there may be too many and too few during a rolling update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) surge: i32,
    pub(super) unavailable: i32,
}

/// The limits of a strategy; none if all old pods go before the first new one comes.
pub(super) fn limits(strategy: Option<&DeploymentStrategy>, replicas: i32) -> Option<Limits> {
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
        return None;
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let surge = share(rolling.and_then(|rolling| rolling.max_surge.as_ref()), replicas, true);
    let unavailable = share(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), replicas, false);
    // With neither no step would ever be allowed.
    Some(Limits { surge, unavailable: if surge == 0 { unavailable.max(1) } else { unavailable } })
}

/// A number or a percentage; surge rounds up, unavailable down. The default is a quarter.
fn share(value: Option<&IntOrString>, replicas: i32, up: bool) -> i32 {
    let percent = match value {
        Some(IntOrString::Int(number)) => return (*number).max(0),
        Some(IntOrString::String(text)) => text.trim_end_matches('%').parse::<i64>().unwrap_or(0),
        None => 25,
    };
    let hundredths = i64::from(replicas).saturating_mul(percent.max(0));
    within(if up { hundredths.saturating_add(99) / 100 } else { hundredths / 100 }, i32::MAX)
}

/// The next step towards `replicas` pods of the new set alone.
pub(super) fn step(replicas: i32, limits: Option<Limits>, new: Set, old: &[Set]) -> Step {
    let sum = |number: fn(&Set) -> i32| old.iter().map(|set| i64::from(number(set))).sum::<i64>();
    let old_wanted = sum(|set| set.wanted);
    let Some(limits) = limits else {
        let next = if old_wanted + sum(|set| set.present) == 0 { replicas } else { new.wanted };
        return Step { new: next, old: vec![0; old.len()] };
    };
    let all_wanted = i64::from(new.wanted) + old_wanted;
    let room = i64::from(replicas) + i64::from(limits.surge) - all_wanted;
    let next =
        if new.wanted > replicas { replicas } else { new.wanted + within(room, replicas - new.wanted) };
    let least = i64::from(replicas) - i64::from(limits.unavailable);
    let available = i64::from(new.available) + sum(|set| set.available);
    let mut healthy_budget = (available - least).max(0);
    // Old pods that are not available hold nothing up and go first.
    let unhealthy_new = (i64::from(new.wanted) - i64::from(new.available)).max(0);
    let mut total_budget = (all_wanted - least - unhealthy_new).max(0);
    let mut next_old = Vec::with_capacity(old.len());
    for set in old {
        let unhealthy = within(total_budget, set.wanted.saturating_sub(set.available));
        total_budget -= i64::from(unhealthy);
        let healthy = within(healthy_budget.min(total_budget), set.wanted - unhealthy);
        healthy_budget -= i64::from(healthy);
        total_budget -= i64::from(healthy);
        next_old.push(set.wanted - unhealthy - healthy);
    }
    Step { new: next, old: next_old }
}

/// As much of `most` as `budget` allows, none below zero.
fn within(budget: i64, most: i32) -> i32 {
    i32::try_from(budget.max(0)).unwrap_or(i32::MAX).min(most.max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(wanted: i32, available: i32) -> Set {
        Set { wanted, present: wanted, available }
    }

    const QUARTER: Limits = Limits { surge: 1, unavailable: 1 };

    #[test]
    fn surge_rounds_up_and_unavailable_down() {
        assert_eq!(limits(None, 4), Some(QUARTER));
        assert_eq!(limits(None, 10), Some(Limits { surge: 3, unavailable: 2 }));
        assert_eq!(limits(None, 1), Some(Limits { surge: 1, unavailable: 0 }));
    }

    #[test]
    fn a_first_rollout_asks_for_everything_at_once() {
        assert_eq!(step(4, Some(QUARTER), set(0, 0), &[]), Step { new: 4, old: vec![] });
    }

    #[test]
    fn a_rolling_update_never_has_too_few_or_too_many() {
        let (replicas, limits) = (4, QUARTER);
        let (mut new, mut old) = (set(0, 0), set(4, 4));
        for round in 0.. {
            let next = step(replicas, Some(limits), new, &[old]);
            assert!(next.new + next.old[0] <= replicas + limits.surge, "round {round}: {next:?}");
            let available = new.available.min(next.new) + old.available.min(next.old[0]);
            assert!(available >= replicas - limits.unavailable, "round {round}: {next:?}");
            (new, old) = (set(next.new, next.new), set(next.old[0], next.old[0]));
            if (new.wanted, old.wanted) == (replicas, 0) {
                break;
            }
            assert!(round < 20, "the rollout does not end");
        }
    }

    #[test]
    fn new_pods_that_do_not_become_available_stop_the_rollout() {
        assert_eq!(step(4, Some(QUARTER), set(2, 0), &[set(3, 3)]), Step { new: 2, old: vec![3] });
    }

    #[test]
    fn recreate_waits_for_the_old_pods_to_be_gone() {
        assert_eq!(step(4, None, set(0, 0), &[set(4, 4)]), Step { new: 0, old: vec![0] });
        let going = Set { wanted: 0, present: 2, available: 0 };
        assert_eq!(step(4, None, set(0, 0), &[going]), Step { new: 0, old: vec![0] });
        assert_eq!(step(4, None, set(0, 0), &[set(0, 0)]), Step { new: 4, old: vec![0] });
    }

    #[test]
    fn scaling_down_goes_at_once() {
        assert_eq!(
            step(0, Some(Limits { surge: 0, unavailable: 1 }), set(8, 8), &[]),
            Step { new: 0, old: vec![] }
        );
    }

    #[test]
    fn numbers_at_the_end_of_their_range_neither_overflow_nor_stop_a_rollout() {
        const MOST: i32 = i32::MAX;
        let all = Limits { surge: MOST, unavailable: MOST };
        assert_eq!(step(1, Some(all), set(0, 0), &[]), Step { new: 1, old: vec![] });
        assert_eq!(step(MOST, Some(all), set(0, 0), &[set(MOST, MOST)]), Step { new: MOST, old: vec![0] });
        let numbers = [0, 1, MOST - 1, MOST];
        for replicas in numbers {
            for (surge, unavailable) in [(MOST, 0), (0, MOST), (MOST, MOST), (1, 0)] {
                for (wanted, available) in [(0, 0), (MOST, 0), (MOST, MOST), (0, MOST)] {
                    let old = [set(wanted, available); 3];
                    for limits in [None, Some(Limits { surge, unavailable })] {
                        for new in numbers {
                            let next = step(replicas, limits, set(new, 0), &old);
                            assert!(next.new >= 0 && next.old.iter().all(|old| (0..=wanted).contains(old)));
                        }
                    }
                }
            }
        }
        let percent = |text: &str| share(Some(&IntOrString::String(text.to_owned())), MOST, true);
        assert_eq!(percent("2147483647%"), MOST);
        assert_eq!(percent("9223372036854775807%"), MOST);
    }
}
