//! The objects of one kind as a watch has shown them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use follow::Event;
use futures::{Stream, StreamExt};
use kube::{Resource, ResourceExt};

/// The name of an object within its kind; the namespace is empty for objects outside of any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(crate) fn of<K: Resource>(object: &K) -> Self {
        Self { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// The objects of one kind.
///
/// A controller that writes an object shows the answer to the cache at once ([`Cache::observe`]),
/// so that it never acts twice on a state that it has already changed.
#[derive(Debug)]
pub(crate) struct Cache<K> {
    objects: RwLock<BTreeMap<Key, Arc<K>>>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self { objects: RwLock::default() }
    }
}

/// An object that came, changed or went: at least one of the two is there.
#[derive(Clone, Debug)]
pub(crate) struct Change<K> {
    pub(crate) old: Option<Arc<K>>,
    pub(crate) new: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// The object before and after, as far as it was and is there.
    pub(crate) fn sides(&self) -> impl Iterator<Item = &Arc<K>> {
        self.old.iter().chain(self.new.iter())
    }

    /// The newest form of the object.
    pub(crate) fn newest(&self) -> Option<&Arc<K>> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

impl<K: Resource + Clone> Cache<K> {
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.read().get(key).cloned()
    }

    /// All objects in the order of their keys.
    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.read().values().cloned().collect()
    }

    /// The objects of one namespace in the order of their names.
    pub(crate) fn within(&self, namespace: &str) -> Vec<Arc<K>> {
        let start = Key::new(namespace, "");
        let objects = self.read();
        let range = objects.range(start..).take_while(|(key, _)| key.namespace == namespace);
        range.map(|(_, object)| object.clone()).collect()
    }

    /// Takes in the answer to a write, unless the watch has already shown something newer.
    pub(crate) fn observe(&self, object: K) {
        self.put(Arc::new(object));
    }

    /// Takes in that an object was deleted.
    pub(crate) fn forget(&self, key: &Key) {
        self.write().remove(key);
    }

    /// Follows a watch to its end. `synced` is called when the first list is complete.
    pub(crate) async fn follow(
        &self,
        events: impl Stream<Item = Event<K>>,
        on_change: impl Fn(&Change<K>),
        synced: impl FnOnce(),
    ) {
        let mut events = std::pin::pin!(events);
        let mut list: Option<BTreeMap<Key, Arc<K>>> = None;
        let mut synced = Some(synced);
        while let Some(event) = events.next().await {
            match (event, &mut list) {
                (Event::Relist, _) => list = Some(BTreeMap::new()),
                (Event::Apply(object), Some(list)) => {
                    list.insert(Key::of(&object), Arc::new(object));
                }
                (Event::Apply(object), None) => {
                    let change = self.put(Arc::new(object));
                    on_change(&change);
                }
                (Event::Delete(object), _) => {
                    let old = self.write().remove(&Key::of(&object));
                    on_change(&Change { old: Some(old.unwrap_or_else(|| Arc::new(object))), new: None });
                }
                (Event::Synced, _) => {
                    for change in self.replace(list.take().unwrap_or_default()) {
                        on_change(&change);
                    }
                    if let Some(synced) = synced.take() {
                        synced();
                    }
                }
            }
        }
    }

    fn put(&self, object: Arc<K>) -> Change<K> {
        let key = Key::of(&*object);
        let mut objects = self.write();
        let old = objects.get(&key).cloned();
        if old.as_ref().is_none_or(|old| revision(&**old) <= revision(&*object)) {
            objects.insert(key, object.clone());
        }
        Change { old, new: Some(object) }
    }

    /// After a new list: whatever differs has changed.
    fn replace(&self, listed: BTreeMap<Key, Arc<K>>) -> Vec<Change<K>> {
        let mut objects = self.write();
        let gone = objects.iter().filter(|(key, _)| !listed.contains_key(*key));
        let mut changes: Vec<_> = gone.map(|(_, old)| Change { old: Some(old.clone()), new: None }).collect();
        for (key, new) in &listed {
            let old = objects.get(key).cloned();
            if old.as_ref().is_none_or(|old| revision(&**old) != revision(&**new)) {
                changes.push(Change { old, new: Some(new.clone()) });
            }
        }
        *objects = listed;
        changes
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Key, Arc<K>>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Key, Arc<K>>> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resource versions of one kind may be compared (KEP-5504).
fn revision<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str, revision: u64) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some("default".into());
        object.metadata.name = Some(name.into());
        object.metadata.resource_version = Some(revision.to_string());
        object
    }

    #[test]
    fn an_older_event_does_not_undo_an_observed_write() {
        let cache = Cache::default();
        cache.observe(object("a", 9));
        cache.put(Arc::new(object("a", 7)));
        assert_eq!(revision(&*cache.get(&Key::new("default", "a")).unwrap()), 9);
    }

    #[tokio::test]
    async fn a_new_list_shows_what_has_come_changed_and_gone() {
        let cache = Cache::default();
        cache.observe(object("gone", 1));
        cache.observe(object("same", 2));
        cache.observe(object("changed", 3));
        let list = [object("same", 2), object("changed", 5), object("new", 4)];
        let events = std::iter::once(Event::Relist).chain(list.map(Event::Apply)).chain([Event::Synced]);
        let seen = RefCell::new(Vec::new());
        let on_change = |change: &Change<ConfigMap>| {
            let name = change.newest().unwrap().name_any();
            seen.borrow_mut().push((name, change.old.is_some(), change.new.is_some()));
        };
        cache.follow(futures::stream::iter(events), on_change, || {}).await;
        let mut seen = seen.into_inner();
        seen.sort();
        assert_eq!(
            seen,
            [("changed".into(), true, true), ("gone".into(), true, false), ("new".into(), false, true)]
        );
    }
}
