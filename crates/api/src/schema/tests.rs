//! The table itself: whole, consistent, and as upstream names things.

use super::*;

fn builtin_message(name: &str) -> MessageId {
    Schema::builtin().message_named(name).expect(name)
}

#[test]
fn every_kind_is_found_by_kind_and_by_resource() {
    let schema = Schema::builtin();
    for kind in schema.kinds() {
        let found = schema.kind(&kind.group, &kind.version, &kind.kind).expect(&kind.kind);
        assert_eq!(found.plural, kind.plural);
        assert_eq!(schema.resource(&kind.group, &kind.version, &kind.plural).is_some(), kind.served);
    }
    assert!(schema.kind("apps", "v1beta1", "Deployment").is_none());
    assert!(schema.resource("", "v1", "deployments").is_none());
}

#[test]
fn names_are_qualified_by_group_as_status_texts_have_them() {
    let schema = Schema::builtin();
    let service = schema.kind("", "v1", "Service").unwrap();
    assert_eq!((service.api_version(), service.qualified_resource()), ("v1".into(), "services".into()));
    let deployment = schema.kind("apps", "v1", "Deployment").unwrap();
    assert_eq!(deployment.api_version(), "apps/v1");
    assert_eq!(deployment.qualified_resource(), "deployments.apps");
    assert_eq!(deployment.qualified_kind(), "Deployment.apps");
    assert!(deployment.has_generation() && deployment.status && deployment.scale);
}

#[test]
fn every_object_has_metadata_and_every_type_reference_resolves() {
    let schema = Schema::builtin();
    for kind in schema.kinds() {
        assert!(schema.message(kind.message).object, "{}", kind.kind);
        let options = kind.kind == "DeleteOptions";
        assert_eq!(schema.field(kind.message, "metadata").is_some(), !options, "{}", kind.kind);
    }
}

#[test]
fn inlined_structures_are_part_of_the_parent_in_json() {
    let schema = Schema::builtin();
    let volume = builtin_message("core/v1.Volume");
    assert!(schema.field(volume, "emptyDir").is_some());
    assert!(schema.field(volume, "volumeSource").is_none());
    let probe = builtin_message("core/v1.Probe");
    assert!(schema.field(probe, "httpGet").is_some());
    assert!(schema.field(builtin_message("core/v1.EphemeralContainer"), "image").is_some());
}

#[test]
fn merge_keys_and_list_types_are_carried_over() {
    let schema = Schema::builtin();
    let ports = schema.field(builtin_message("core/v1.ServiceSpec"), "ports").unwrap();
    assert!(ports.patch_merge);
    assert_eq!(ports.merge_key.as_deref(), Some("port"));
    assert_eq!((ports.list_type, ports.list_keys.join("+").as_str()), (Some(ListType::Map), "port+protocol"));
    let volumes = schema.field(builtin_message("core/v1.PodSpec"), "volumes").unwrap();
    assert!(volumes.patch_merge && volumes.retain_keys);
}

#[test]
fn a_malformed_line_is_named() {
    let refused = |tables: Tables<'_>| Schema::parse(&tables).unwrap_err().to_string();
    let messages = "message a/v1.B\n1 name string";
    assert!(
        refused(Tables { messages: "message a/v1.B\n1 name nosuch", ..Tables::default() }).contains("line 2")
    );
    assert!(refused(Tables { kinds: "core v1", ..Tables::default() }).contains("line 1"));
    assert!(
        refused(Tables { messages, defaults: "a/v1.B nosuch 1", ..Tables::default() }).contains("nosuch")
    );
    assert!(
        refused(Tables { messages, descriptions: "a/v1.B nosuch x", ..Tables::default() }).contains("nosuch")
    );
}
