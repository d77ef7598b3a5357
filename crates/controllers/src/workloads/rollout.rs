//! How far a Deployment's ReplicaSets may be scaled in one step: pure.

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
    let hundredths = i64::from(replicas) * percent.max(0);
    (if up { (hundredths + 99) / 100 } else { hundredths / 100 }) as i32
}

/// The next step towards `replicas` pods of the new set alone.
pub(super) fn step(replicas: i32, limits: Option<Limits>, new: Set, old: &[Set]) -> Step {
    let old_wanted: i32 = old.iter().map(|set| set.wanted).sum();
    let Some(limits) = limits else {
        let old_present: i32 = old.iter().map(|set| set.present).sum();
        let next = if old_wanted + old_present == 0 { replicas } else { new.wanted };
        return Step { new: next, old: vec![0; old.len()] };
    };
    let room = replicas + limits.surge - (new.wanted + old_wanted);
    let next =
        if new.wanted > replicas { replicas } else { new.wanted + room.max(0).min(replicas - new.wanted) };
    let least = replicas - limits.unavailable;
    let available = new.available + old.iter().map(|set| set.available).sum::<i32>();
    let mut healthy_budget = (available - least).max(0);
    // Old pods that are not available hold nothing up and go first.
    let unhealthy_new = (new.wanted - new.available).max(0);
    let mut total_budget = (new.wanted + old_wanted - least - unhealthy_new).max(0);
    let mut next_old = Vec::with_capacity(old.len());
    for set in old {
        let unhealthy = (set.wanted - set.available).clamp(0, total_budget);
        total_budget -= unhealthy;
        let healthy = (set.wanted - unhealthy).min(healthy_budget).min(total_budget).max(0);
        healthy_budget -= healthy;
        total_budget -= healthy;
        next_old.push(set.wanted - unhealthy - healthy);
    }
    Step { new: next, old: next_old }
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
}
