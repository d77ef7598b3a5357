//! Who owns whom, and what follows from it: pure.

use std::collections::{BTreeSet, HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::ApiResource;

/// The finalizer of an owner whose dependents go first.
const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner whose dependents stay.
const ORPHAN: &str = "orphan";

/// One object, as far as ownership is concerned.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) resource: ApiResource,
    pub(super) namespaced: bool,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) owners: Vec<OwnerReference>,
    pub(super) finalizers: Vec<String>,
    pub(super) deleting: bool,
}

/// What to do with an object next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Keep,
    /// Its owners are gone: it goes too.
    Delete,
    /// Its owner waits for it: it goes, after its own dependents.
    DeleteForeground,
    /// Its dependents are settled: it need not wait for them any more.
    Release { finalizer: &'static str },
    /// Its owner leaves it behind: it has that owner no longer.
    Disown { owner: String },
}

/// All objects by uid, and the dependents of each.
#[derive(Debug, Default)]
pub(super) struct Graph {
    objects: HashMap<String, Identity>,
    dependents: HashMap<String, BTreeSet<String>>,
    /// Kinds whose first list is complete: only of these an absent object is known to be gone.
    complete: HashMap<(String, String), (ApiResource, bool)>,
}

impl Graph {
    /// Takes in an object; returns whom to look at.
    pub(super) fn apply(&mut self, identity: Identity) -> Vec<String> {
        // An owner that the object has no longer may have waited for just that.
        let before = self.objects.get(&identity.uid).map(|known| known.owners.clone()).unwrap_or_default();
        self.unlink(&identity.uid);
        for owner in &identity.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(identity.uid.clone());
        }
        let uid = identity.uid.clone();
        let mut affected = vec![uid.clone()];
        if identity.deleting {
            affected.extend(self.dependents_of(&uid));
        }
        affected.extend(before.into_iter().map(|owner| owner.uid));
        affected.extend(identity.owners.iter().map(|owner| owner.uid.clone()));
        self.objects.insert(uid, identity);
        affected
    }

    /// Takes in that an object is gone; returns whom to look at.
    pub(super) fn remove(&mut self, uid: &str) -> Vec<String> {
        self.unlink(uid);
        let mut affected = self.dependents_of(uid);
        if let Some(identity) = self.objects.remove(uid) {
            affected.extend(identity.owners.into_iter().map(|owner| owner.uid));
        }
        affected
    }

    /// Takes in a complete list of one kind: what it does not name is gone.
    pub(super) fn listed(&mut self, resource: &ApiResource, uids: &[String]) -> Vec<String> {
        let listed: HashSet<&String> = uids.iter().collect();
        let gone: Vec<String> = self
            .objects
            .values()
            .filter(|object| object.resource == *resource && !listed.contains(&object.uid))
            .map(|object| object.uid.clone())
            .collect();
        let mut affected: Vec<String> = gone.iter().flat_map(|uid| self.remove(uid)).collect();
        let namespaced = self.objects.values().find(|o| o.resource == *resource).is_none_or(|o| o.namespaced);
        let kind = (resource.api_version.clone(), resource.kind.clone());
        self.complete.insert(kind, (resource.clone(), namespaced));
        // Those who waited for this kind to be known can be decided now.
        let waiting = self.objects.values().filter(|object| {
            object.owners.iter().any(|owner| {
                owner.kind == resource.kind
                    && owner.api_version == resource.api_version
                    && !self.objects.contains_key(&owner.uid)
            })
        });
        affected.extend(waiting.map(|object| object.uid.clone()));
        affected
    }

    /// How many kinds are completely known.
    pub(super) fn complete(&self) -> usize {
        self.complete.len()
    }

    /// The resource of a kind that is completely known, and whether it is namespaced.
    pub(super) fn resource(&self, api_version: &str, kind: &str) -> Option<(ApiResource, bool)> {
        self.complete.get(&(api_version.to_owned(), kind.to_owned())).cloned()
    }

    /// What to do with an object next.
    pub(super) fn step(&self, uid: &str) -> Option<(Identity, Step)> {
        let object = self.objects.get(uid)?;
        Some((object.clone(), self.decide(object)))
    }

    fn decide(&self, object: &Identity) -> Step {
        let holds = |identity: &Identity, finalizer: &str| {
            identity.deleting && identity.finalizers.iter().any(|held| held == finalizer)
        };
        let dependents = self.dependents.get(&object.uid).map_or(0, BTreeSet::len);
        if holds(object, ORPHAN) && dependents == 0 {
            return Step::Release { finalizer: ORPHAN };
        }
        if holds(object, FOREGROUND) && !self.is_blocked(object) {
            return Step::Release { finalizer: FOREGROUND };
        }
        if object.owners.is_empty() {
            return Step::Keep;
        }
        let owners = || object.owners.iter().map(|owner| (owner, self.objects.get(&owner.uid)));
        if let Some((owner, _)) = owners().find(|(_, found)| found.is_some_and(|found| holds(found, ORPHAN)))
        {
            return Step::Disown { owner: owner.uid.clone() };
        }
        if object.deleting {
            return Step::Keep;
        }
        let known_gone = |owner: &OwnerReference| {
            !self.objects.contains_key(&owner.uid)
                && self.complete.contains_key(&(owner.api_version.clone(), owner.kind.clone()))
        };
        if object.owners.iter().all(known_gone) {
            return Step::Delete;
        }
        let waited_for = |found: Option<&Identity>| found.is_some_and(|found| holds(found, FOREGROUND));
        if owners().all(|(owner, found)| waited_for(found) || known_gone(owner)) {
            return Step::DeleteForeground;
        }
        Step::Keep
    }

    /// Whether a dependent that blocks its owner's end is still there.
    fn is_blocked(&self, owner: &Identity) -> bool {
        let dependents = self.dependents.get(&owner.uid).into_iter().flatten();
        dependents.filter_map(|uid| self.objects.get(uid)).any(|dependent| {
            dependent
                .owners
                .iter()
                .any(|reference| reference.uid == owner.uid && reference.block_owner_deletion == Some(true))
        })
    }

    fn dependents_of(&self, uid: &str) -> Vec<String> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    fn unlink(&mut self, uid: &str) {
        let Some(object) = self.objects.get(uid) else { return };
        for owner in &object.owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::GroupVersionKind;

    use super::*;

    fn resource(kind: &str) -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", kind))
    }

    fn object(kind: &str, uid: &str, owners: &[(&str, &str)]) -> Identity {
        let owners = owners.iter().map(|(kind, uid)| OwnerReference {
            api_version: "v1".into(),
            kind: (*kind).into(),
            name: (*uid).into(),
            uid: (*uid).into(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        });
        Identity {
            resource: resource(kind),
            namespaced: true,
            namespace: Some("default".into()),
            name: uid.into(),
            uid: uid.into(),
            owners: owners.collect(),
            finalizers: Vec::new(),
            deleting: false,
        }
    }

    fn deleting(mut object: Identity, finalizer: &str) -> Identity {
        object.deleting = true;
        object.finalizers = vec![finalizer.into()];
        object
    }

    fn step(graph: &Graph, uid: &str) -> Step {
        graph.step(uid).unwrap().1
    }

    #[test]
    fn a_dependent_goes_once_all_its_owners_are_known_to_be_gone() {
        let mut graph = Graph::default();
        graph.apply(object("Pod", "p", &[("Set", "s"), ("Set", "t")]));
        assert_eq!(step(&graph, "p"), Step::Keep, "nothing is known of sets yet");
        graph.apply(object("Set", "s", &[]));
        assert_eq!(graph.listed(&resource("Set"), &["s".into()]), ["p"]);
        assert_eq!(step(&graph, "p"), Step::Keep);
        assert_eq!(graph.remove("s"), ["p"]);
        assert_eq!(step(&graph, "p"), Step::Delete);
    }

    #[test]
    fn an_owner_in_foreground_deletion_waits_for_its_dependents() {
        let mut graph = Graph::default();
        graph.apply(object("Set", "s", &[]));
        graph.apply(object("Pod", "p", &[("Set", "s")]));
        assert_eq!(graph.apply(deleting(object("Set", "s", &[]), FOREGROUND)), ["s", "p"]);
        assert_eq!(step(&graph, "s"), Step::Keep);
        assert_eq!(step(&graph, "p"), Step::DeleteForeground);
        assert_eq!(graph.remove("p"), ["s"]);
        assert_eq!(step(&graph, "s"), Step::Release { finalizer: FOREGROUND });
    }

    #[test]
    fn an_orphaning_owner_leaves_its_dependents_behind() {
        let mut graph = Graph::default();
        graph.apply(object("Pod", "p", &[("Set", "s")]));
        graph.apply(deleting(object("Set", "s", &[]), ORPHAN));
        assert_eq!(step(&graph, "s"), Step::Keep);
        assert_eq!(step(&graph, "p"), Step::Disown { owner: "s".into() });
        assert!(
            graph.apply(object("Pod", "p", &[])).contains(&"s".to_owned()),
            "the owner is looked at again"
        );
        assert_eq!(step(&graph, "s"), Step::Release { finalizer: ORPHAN });
    }

    #[test]
    fn a_new_list_shows_what_went_while_nobody_looked() {
        let mut graph = Graph::default();
        graph.apply(object("Set", "s", &[]));
        graph.apply(object("Pod", "p", &[("Set", "s")]));
        assert!(graph.listed(&resource("Set"), &[]).contains(&"p".to_owned()));
        assert_eq!(step(&graph, "p"), Step::Delete);
    }
}
