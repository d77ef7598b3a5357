//! The cluster follows events, whatever their order.

use super::*;
use serde_json::json;

fn service(name: &str, port: u16) -> Service {
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "d"},
        "spec": {"clusterIP": "10.96.0.9", "ports": [{"name": "http", "port": port}]}
    }))
    .unwrap()
}

fn slice(name: &str, service: &str, addresses: &[&str]) -> EndpointSlice {
    let endpoints: Vec<_> = addresses.iter().map(|address| json!({"addresses": [address]})).collect();
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "d", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 80}], "endpoints": endpoints
    }))
    .unwrap()
}

/// A cluster under test, and the Services its last event touched.
#[derive(Default)]
struct Scene(Cluster);

impl Scene {
    fn service(&mut self, event: Event<Service>) -> Vec<String> {
        let mut changed = Changed::new();
        self.0.service_event(event, &mut changed);
        changed.iter().map(|name| name.name.to_string()).collect()
    }

    fn slice(&mut self, event: Event<EndpointSlice>) -> Vec<String> {
        let mut changed = Changed::new();
        self.0.slice_event(event, &mut changed);
        changed.iter().map(|name| name.name.to_string()).collect()
    }

    fn endpoints(&self, service: &str) -> Vec<String> {
        let views = self.0.ports(&ServiceName::new("d", service), &Viewpoint::default());
        let lists = views.iter().flat_map(|view| &view.choice.cluster.endpoints);
        lists.map(|endpoint| endpoint.address.to_string()).collect()
    }
}

#[test]
fn slices_of_several_managers_add_up_and_name_each_address_once() {
    let mut scene = Scene::default();
    assert_eq!(scene.slice(Event::Apply(slice("one", "web", &["10.0.0.1", "10.0.0.2"]))), ["web"]);
    assert_eq!(scene.service(Event::Apply(service("web", 8080))), ["web"]);
    assert_eq!(scene.slice(Event::Apply(slice("two", "web", &["10.0.0.2", "10.0.0.3"]))), ["web"]);
    assert_eq!(scene.endpoints("web"), ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
    scene.slice(Event::Delete(slice("one", "web", &[])));
    assert_eq!(scene.endpoints("web"), ["10.0.0.2:80", "10.0.0.3:80"]);
}

#[test]
fn of_two_pods_with_one_address_the_one_that_is_not_terminating_counts() {
    let mut scene = Scene::default();
    scene.service(Event::Apply(service("web", 8080)));
    let mut old = slice("a-old", "web", &["10.0.0.1"]);
    old.endpoints[0].ready = false;
    old.endpoints[0].terminating = true;
    let new = slice("b-new", "web", &["10.0.0.1"]);
    for pair in [[&old, &new], [&new, &old]] {
        for (name, slice) in ["a", "b"].iter().zip(pair) {
            let mut slice = slice.clone();
            slice.metadata.name = (*name).into();
            scene.slice(Event::Apply(slice));
        }
        assert_eq!(scene.endpoints("web"), ["10.0.0.1:80"]);
    }
}

#[test]
fn a_slice_may_change_its_service() {
    let mut scene = Scene::default();
    scene.service(Event::Apply(service("web", 8080)));
    scene.service(Event::Apply(service("api", 8080)));
    scene.slice(Event::Apply(slice("one", "web", &["10.0.0.1"])));
    assert_eq!(scene.slice(Event::Apply(slice("one", "api", &["10.0.0.1"]))), ["api", "web"]);
    assert_eq!((scene.endpoints("web").len(), scene.endpoints("api").len()), (0, 1));
}

#[test]
fn an_object_that_says_nothing_new_touches_nothing() {
    let mut scene = Scene::default();
    scene.service(Event::Apply(service("web", 8080)));
    scene.slice(Event::Apply(slice("one", "web", &["10.0.0.1"])));
    let mut again = service("web", 8080);
    again.metadata.resource_version = Some("99".into());
    assert!(scene.service(Event::Apply(again)).is_empty());
    assert!(scene.slice(Event::Apply(slice("one", "web", &["10.0.0.1"]))).is_empty());
    assert_eq!(scene.service(Event::Apply(service("web", 8081))), ["web"]);
}

#[test]
fn after_a_lost_watch_only_the_difference_is_touched() {
    let mut scene = Scene::default();
    for event in [Event::Relist, Event::Apply(service("a", 1)), Event::Apply(service("b", 1)), Event::Synced]
    {
        scene.service(event);
    }
    assert!(!scene.0.synced(), "slices are not listed yet");
    scene.slice(Event::Relist);
    scene.slice(Event::Apply(slice("gone", "a", &["10.0.0.1"])));
    scene.slice(Event::Synced);
    assert!(scene.0.synced());

    assert!(scene.service(Event::Relist).is_empty());
    assert!(scene.service(Event::Apply(service("a", 1))).is_empty());
    assert_eq!(scene.service(Event::Apply(service("c", 1))), ["c"]);
    assert!(scene.0.synced(), "what was known stays known while a list is read again");
    assert_eq!(scene.service(Event::Synced), ["b"]);
    scene.slice(Event::Relist);
    assert_eq!(scene.slice(Event::Synced), ["a"]);
}

#[test]
fn headless_slices_are_no_business_of_a_proxy() {
    let mut scene = Scene::default();
    scene.service(Event::Apply(service("web", 8080)));
    let mut headless = slice("one", "web", &["10.0.0.1"]);
    headless.headless = true;
    scene.slice(Event::Apply(headless));
    assert!(scene.endpoints("web").is_empty());
    assert_eq!(scene.0.slices(&ServiceName::new("d", "web")).count(), 1);
}
