//! The schema table: which kinds and messages exist, and every fact about their fields.

mod parse;

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

pub use parse::{TableError, Tables};

/// All kinds and messages of one API surface.
#[derive(Debug, Default)]
pub struct Schema {
    kinds: Vec<Kind>,
    messages: Vec<Message>,
    /// Positions of the kinds of a name, in any group and version.
    by_kind: HashMap<String, Vec<usize>>,
    /// Positions of the kinds of a plural, in any group and version.
    by_resource: HashMap<String, Vec<usize>>,
    by_message: HashMap<String, MessageId>,
}

/// The index of a [`Message`] in its [`Schema`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(u32);

/// One kind of object and the resource it is served under.
#[derive(Debug, Clone)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: String,
    /// Version within the group, such as `v1`.
    pub version: String,
    /// Name of the kind, such as `Service`.
    pub kind: String,
    /// Name of the list kind, such as `ServiceList`.
    pub list_kind: String,
    /// Resource name in URLs, such as `services`.
    pub plural: String,
    /// Singular resource name, such as `service`.
    pub singular: String,
    /// Abbreviations that clients accept, such as `svc`.
    pub short_names: Vec<String>,
    /// Groups of resources that clients accept, such as `all`.
    pub categories: Vec<String>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Whether the `status` subresource exists.
    pub status: bool,
    /// Whether the `scale` subresource exists.
    pub scale: bool,
    /// The other subresources, such as `log` and `exec` of pods.
    pub subresources: Vec<String>,
    /// Whether objects are persisted; `false` for request bodies such as `DeleteOptions`.
    pub stored: bool,
    /// Whether the kind is a resource of its own: every stored kind, and the create-only reviews.
    pub served: bool,
    /// The message that describes the object's fields.
    pub message: MessageId,
    generation: bool,
}

impl Kind {
    /// The `apiVersion` of objects: `v1`, `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The resource as Status texts name it: `services`, `deployments.apps`.
    #[must_use]
    pub fn qualified_resource(&self) -> String {
        self.qualify(&self.plural)
    }

    /// The kind as Status texts name it: `Service`, `Deployment.apps`.
    #[must_use]
    pub fn qualified_kind(&self) -> String {
        self.qualify(&self.kind)
    }

    /// Whether `metadata.generation` counts the changes of the desired state.
    #[must_use]
    pub fn has_generation(&self) -> bool {
        self.generation
    }

    /// Whether this is the kind of that name in that group, in any version.
    #[must_use]
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    /// The verbs that the resource serves.
    #[must_use]
    pub fn verbs(&self) -> &'static [&'static str] {
        match (self.stored, self.served) {
            // Namespaces go one by one: each is emptied first.
            (true, _) if self.is("", "Namespace") => {
                &["create", "delete", "get", "list", "patch", "update", "watch"]
            }
            (true, _) => &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            (false, true) => &["create"],
            (false, false) => &[],
        }
    }

    fn qualify(&self, name: &str) -> String {
        if self.group.is_empty() { name.to_owned() } else { format!("{name}.{}", self.group) }
    }
}

/// A structure with named, numbered fields.
#[derive(Debug, Clone)]
pub struct Message {
    /// Name in the table: package and Go type, such as `core/v1.ServiceSpec`.
    pub name: String,
    /// What it is; may be empty.
    pub description: String,
    /// Whether `apiVersion` and `kind` belong to it.
    pub object: bool,
    /// The fields as protobuf sees them, inlined structures unresolved, in ascending tag order.
    pub fields: Vec<Field>,
    /// The message and position of each field as JSON sees it, sorted by name.
    json: Vec<(MessageId, u32)>,
}

impl Message {
    /// The bare type name, such as `ServiceSpec`.
    #[must_use]
    pub fn type_name(&self) -> &str {
        self.name.rsplit_once('.').map_or(self.name.as_str(), |(_, name)| name)
    }

    /// The field with this protobuf tag.
    #[must_use]
    pub fn by_tag(&self, tag: u32) -> Option<&Field> {
        self.fields.binary_search_by_key(&tag, |field| field.tag).ok().map(|at| &self.fields[at])
    }
}

/// One field of a [`Message`].
#[derive(Debug, Clone)]
pub struct Field {
    /// Protobuf field number.
    pub tag: u32,
    /// JSON name; empty when the structure's fields are inlined into the parent.
    pub name: String,
    /// What a value, an element or a map value is.
    pub ty: Type,
    /// One value, a list of them, or a map from strings to them.
    pub shape: Shape,
    /// What is sent when nothing was set.
    pub presence: Presence,
    /// Whether the API definitions demand the field.
    pub required: bool,
    /// Strategic merge: lists are merged instead of replaced.
    pub patch_merge: bool,
    /// Strategic merge: keys that the patch does not retain are removed (`retainKeys`).
    pub retain_keys: bool,
    /// Strategic merge: the key of a merged list of structures.
    pub merge_key: Option<String>,
    /// Server-side apply: how a list merges.
    pub list_type: Option<ListType>,
    /// Server-side apply: the keys of a `map` list.
    pub list_keys: Vec<String>,
    /// Server-side apply: a map or structure that is owned as a whole.
    pub atomic: bool,
    /// What it holds when the client left it out.
    pub default: Option<Value>,
    /// What it is for; may be empty.
    pub description: String,
}

impl Field {
    /// Whether the structure's fields appear in the parent object in JSON.
    #[must_use]
    pub fn inline(&self) -> bool {
        self.name.is_empty()
    }

    /// Whether an unset structure still appears as `{}` (Go structs that are no pointers).
    #[must_use]
    pub fn always_present(&self) -> bool {
        self.shape == Shape::One
            && matches!(self.ty, Type::Message(_))
            && matches!(self.presence, Presence::OmitEmpty | Presence::Always)
    }
}

/// How many values a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    One,
    /// A list.
    List,
    /// A map with string keys.
    Map,
}

/// What is sent for a field that was not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// A pointer: unset and zero differ, unset is not sent.
    Pointer,
    /// Zero is not sent in JSON, except an empty structure, which is.
    OmitEmpty,
    /// Zero is not sent in JSON.
    OmitZero,
    /// Zero is sent.
    Always,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// UTF-8 text.
    String,
    /// Bytes; base64 in JSON.
    Bytes,
    /// True or false.
    Bool,
    /// Signed 32-bit number.
    Int32,
    /// Signed 64-bit number.
    Int64,
    /// Floating point number.
    Double,
    /// Time with seconds, RFC 3339 in JSON.
    Time,
    /// Time with microseconds, RFC 3339 in JSON.
    MicroTime,
    /// Go duration text in JSON, such as `1m30s`.
    Duration,
    /// Resource quantity, such as `500m`.
    Quantity,
    /// Number or text.
    IntOrString,
    /// Any object (`runtime.RawExtension`).
    Raw,
    /// A set of fields (`meta/v1.FieldsV1`), any object.
    Fields,
    /// A list of strings inside a message of its own.
    Strings,
    /// A structure.
    Message(MessageId),
}

/// List types of server-side apply (KEP-555).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole.
    Atomic,
    /// Unique scalars.
    Set,
    /// Structures unique by their keys.
    Map,
}

impl ListType {
    /// The name in `x-kubernetes-list-type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Atomic => "atomic",
            Self::Set => "set",
            Self::Map => "map",
        }
    }
}

impl Schema {
    /// The kinds that Portolan serves, parsed once per process.
    #[must_use]
    pub fn builtin() -> &'static Schema {
        static BUILTIN: LazyLock<Schema> = LazyLock::new(|| {
            let tables = Tables {
                kinds: include_str!("../schema/kinds.table"),
                messages: include_str!("../schema/messages.schema"),
                defaults: include_str!("../schema/defaults.table"),
                descriptions: include_str!("../schema/descriptions.table"),
            };
            Schema::parse(&tables).expect("the embedded tables are well-formed: a test checks it")
        });
        &BUILTIN
    }

    /// Every kind, in table order.
    #[must_use]
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The kind of that name.
    #[must_use]
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<&Kind> {
        self.find(&self.by_kind, group, version, kind)
    }

    /// The kind served under that plural resource name.
    #[must_use]
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&Kind> {
        self.find(&self.by_resource, group, version, plural)
    }

    /// The message of an id of this schema.
    #[must_use]
    pub fn message(&self, id: MessageId) -> &Message {
        &self.messages[id.0 as usize]
    }

    /// The message of that table name, such as `core/v1.PodSpec`.
    #[must_use]
    pub fn message_named(&self, name: &str) -> Option<MessageId> {
        self.by_message.get(name).copied()
    }

    /// The field that JSON calls `name`, looked up through inlined structures.
    #[must_use]
    pub fn field(&self, message: MessageId, name: &str) -> Option<&Field> {
        let json = &self.message(message).json;
        let at = json.binary_search_by(|entry| self.json_field(*entry).name.as_str().cmp(name)).ok()?;
        Some(self.json_field(json[at]))
    }

    /// Every field as JSON sees it, sorted by name.
    pub fn fields(&self, message: MessageId) -> impl Iterator<Item = &Field> {
        self.message(message).json.iter().map(|entry| self.json_field(*entry))
    }

    fn find(
        &self,
        names: &HashMap<String, Vec<usize>>,
        group: &str,
        version: &str,
        name: &str,
    ) -> Option<&Kind> {
        let mut candidates = names.get(name)?.iter().map(|at| &self.kinds[*at]);
        candidates.find(|kind| kind.group == group && kind.version == version)
    }

    fn json_field(&self, (message, at): (MessageId, u32)) -> &Field {
        &self.messages[message.0 as usize].fields[at as usize]
    }
}

#[cfg(test)]
mod tests;
