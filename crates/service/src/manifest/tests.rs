//! What texts the model can be filled from.

use super::*;

fn read(text: &str) -> Objects {
    let mut objects = Objects::default();
    objects.read(text).unwrap_or_else(|error| panic!("{error}"));
    objects.finish()
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {clusterIP: 10.96.0.9, ports: [{port: 80}]}\n";

#[test]
fn documents_lists_and_json_say_the_same() {
    let list = format!("kind: List\nitems:\n- {}", SERVICE.trim_end().replace('\n', "\n  "));
    let json = r#"{"kind":"ServiceList","items":[{"metadata":{"name":"web"},
        "spec":{"clusterIP":"10.96.0.9","ports":[{"port":80}]}}]}"#;
    for text in [SERVICE, &list, json, &format!("# a comment\n---\n{SERVICE}---\n")] {
        let objects = read(text);
        let names: Vec<_> = objects.services.iter().map(|service| service.name().to_string()).collect();
        assert_eq!(names, ["default/web"], "{text}");
        assert_eq!(objects.services[0].ports[0].port, 80);
    }
    assert_eq!(read(&format!("{SERVICE}--- # next\n{SERVICE}")).services.len(), 2);
}

#[test]
fn a_line_of_dashes_inside_a_text_block_ends_no_document() {
    let text =
        format!("kind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  x: |\n    ---\n    y\n---\n{SERVICE}");
    let objects = read(&text);
    assert_eq!((objects.services.len(), objects.others["ConfigMap"]), (1, 1));
}

#[test]
fn endpoints_count_when_no_slice_speaks_for_their_service() {
    let endpoints = "---\nkind: Endpoints\nmetadata: {name: web}\nsubsets:\n- addresses: [{ip: 192.0.2.9}]\n  notReadyAddresses: [{ip: 192.0.2.8}]\n  ports: [{port: 8080}]\n";
    let slice = "---\nkind: EndpointSlice\nmetadata: {name: web-1, labels: {kubernetes.io/service-name: web}}\naddressType: IPv4\nendpoints: []\n";
    let objects = read(&format!("{SERVICE}{endpoints}"));
    let ready: Vec<_> = objects.slices[0].endpoints.iter().map(|endpoint| endpoint.ready).collect();
    assert_eq!((ready, objects.slices[0].ports[0].port), (vec![true, false], 8080));
    assert_eq!(read(&format!("{SERVICE}{endpoints}{slice}")).slices.len(), 1);
}

#[test]
fn json_may_stand_in_several_values_and_beside_yaml_which_may_begin_like_it() {
    let service = |name: &str| format!("{{\"kind\":\"Service\",\"metadata\":{{\"name\":\"{name}\"}}}}\n");
    let flow = "{kind: Service, metadata: {name: d}} # in flow style\n";
    let text = format!("{}{}---\n{}---\n{flow}---\n{SERVICE}", service("a"), service("b"), service("c"));
    let names: Vec<_> = read(&text).services.iter().map(|service| service.name().name.to_string()).collect();
    assert_eq!(names, ["a", "b", "c", "d", "web"]);
}

#[test]
fn what_is_no_manifest_is_refused_with_its_place() {
    let refused = |text: &str| Objects::default().read(text).unwrap_err();
    assert_eq!(refused(&format!("{SERVICE}---\nfoo: bar\n")).document, 2);
    assert!(refused("kind: Service\nmetadata: {}\n").message.contains("no metadata.name"));
    assert!(refused("{\"kind\": ").message.starts_with("cannot be read as JSON"));
    assert!(refused("a: [1").message.starts_with("cannot be read as YAML"));
}

#[test]
fn a_list_may_say_after_its_items_what_they_are() {
    let typed = "items:\n- metadata: {name: web}\nkind: ServiceList\n";
    assert_eq!(read(typed).services[0].name().to_string(), "default/web");
    let json = r#"{"items":[{"metadata":{"name":"web"}}],"kind":"ServiceList"}"#;
    assert_eq!(read(json).services.len(), 1);
    for no_list in ["kind: A\nitems: {a: 1}\n", "kind: A\nitems:\n", r#"{"kind":"A","items":"a"}"#] {
        assert_eq!(read(no_list).others["A"], 1, "{no_list}");
    }
    let nested = "kind: List\nitems:\n- kind: List\n  items:\n  - {kind: Service, metadata: {name: web}}\n";
    assert_eq!(read(nested).services.len(), 1);
}

#[test]
fn a_text_with_an_error_adds_nothing() {
    let mut objects = Objects::default();
    for text in [
        format!("{SERVICE}---\nfoo: bar\n"),
        format!("kind: List\nitems:\n- {}\n- {{kind: Service}}\n", SERVICE.trim_end().replace('\n', "\n  ")),
        r#"{"kind":"List","items":[{"kind":"Service","metadata":{"name":"a"}},{"kind":"Service"}]}"#
            .to_owned(),
        "{kind: List, items: [{kind: Service, metadata: {name: a}}, {kind: Service, metadata: {}}]} # YAML"
            .to_owned(),
    ] {
        objects.read(&text).unwrap_err();
        assert!(objects.services.is_empty(), "{text}");
    }
}

#[test]
fn a_wrong_type_is_told_with_the_object_that_has_it() {
    let refused = |text: &str| Objects::default().read(text).unwrap_err().message;
    let json = r#"{"kind":"Service","metadata":{"name":"web"},"spec":{"ports":"all"}}"#;
    let yaml = "kind: Service\nmetadata: {name: web}\nspec: {ports: all}\n";
    for text in [json, yaml] {
        assert!(refused(text).starts_with("Service web: invalid type: string \"all\""), "{}", refused(text));
    }
    assert!(refused("just words\n").contains("expected a Kubernetes object"));
}

#[test]
fn the_labels_of_objects_that_can_be_selected_are_kept_on_demand() {
    let service = SERVICE.replace("{name: web}", "{name: web, labels: {tier: front}}");
    let namespace = "---\nkind: Namespace\nmetadata: {name: web, labels: {env: prod}}\n";
    let endpoints = "---\nkind: Endpoints\nmetadata: {name: web, labels: {a: b}}\nsubsets:\n- addresses: [{ip: 192.0.2.9}]\n";
    let text = format!("{service}{namespace}{endpoints}");
    let mut objects = Objects::with(Options { labels: true, ..Options::default() });
    objects.read(&text).unwrap();
    let objects = objects.finish();
    let of_service = objects.labels("Service", &objects.services[0].metadata).unwrap();
    assert_eq!(of_service["tier"], "front");
    assert_eq!(objects.labels("Namespace", &objects.namespaces[0].metadata).unwrap()["env"], "prod");
    let mirrored = objects.labels("EndpointSlice", &objects.slices[0].metadata).unwrap();
    assert_eq!(mirrored["a"], "b", "a slice that stands for Endpoints has their labels");
    assert_eq!(read(&text).labels("Service", &objects.services[0].metadata), None);
}
