//! Reading the tables.

use std::collections::HashMap;

use super::{Field, Kind, ListType, Message, MessageId, Presence, Schema, Shape, Type};

/// What is wrong with a table, and on which line.
#[derive(Debug, thiserror::Error)]
#[error("schema table, line {line}: {problem}: {text:?}")]
pub struct TableError {
    line: usize,
    problem: &'static str,
    text: String,
}

/// Structures inlined into structures inlined …: no message of the API nests them deeper.
const MAX_INLINE_DEPTH: usize = 4;

/// The texts that a schema is made from; empty ones have nothing to say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tables<'a> {
    /// `kinds.table`: which kinds there are.
    pub kinds: &'a str,
    /// `messages.schema`: the fields of every message.
    pub messages: &'a str,
    /// `defaults.table`: what absent fields hold.
    pub defaults: &'a str,
    /// `descriptions.table`: what messages and fields are for.
    pub descriptions: &'a str,
}

impl Schema {
    /// Builds a schema from the text of its tables.
    ///
    /// # Errors
    /// Names the first line that is not of the tables' form.
    pub fn parse(tables: &Tables<'_>) -> Result<Schema, TableError> {
        let mut schema = Schema::default();
        schema.by_message = message_names(tables.messages);
        schema.messages = parse_messages(tables.messages, &schema.by_message)?;
        for (line, text) in lines(tables.defaults) {
            schema.set_default(text).ok_or_else(|| TableError {
                line,
                problem: "expected message field value, of a field that exists",
                text: text.to_owned(),
            })?;
        }
        for (line, text) in lines(tables.descriptions) {
            schema.describe(text).ok_or_else(|| TableError {
                line,
                problem: "expected message field description, of a field that exists",
                text: text.to_owned(),
            })?;
        }
        for at in 0..schema.messages.len() {
            let id = MessageId(u32::try_from(at).unwrap_or(u32::MAX));
            let mut json = Vec::new();
            schema.collect_json(id, 0, &mut json);
            json.sort_by(|a, b| schema.json_field(*a).name.cmp(&schema.json_field(*b).name));
            schema.messages[at].json = json;
        }
        for (line, text) in lines(tables.kinds) {
            let kind = parse_kind(text, &schema.by_message).ok_or_else(|| TableError {
                line,
                problem: "expected group version Kind plural shortNames categories scope traits",
                text: text.to_owned(),
            })?;
            let at = schema.kinds.len();
            schema.by_kind.entry(kind.kind.clone()).or_default().push(at);
            if kind.served {
                schema.by_resource.entry(kind.plural.clone()).or_default().push(at);
            }
            schema.kinds.push(kind);
        }
        Ok(schema)
    }

    fn set_default(&mut self, text: &str) -> Option<()> {
        let mut words = text.splitn(3, ' ');
        let message = self.message_named(words.next()?)?;
        let name = words.next()?;
        let value = serde_json::from_str(words.next()?).ok()?;
        let fields = &mut self.messages[message.0 as usize].fields;
        fields.iter_mut().find(|field| field.name == name)?.default = Some(value);
        Some(())
    }

    fn describe(&mut self, text: &str) -> Option<()> {
        let mut words = text.splitn(3, ' ');
        let message = self.message_named(words.next()?)?;
        let name = words.next()?;
        let description = words.next()?;
        let message = &mut self.messages[message.0 as usize];
        let place = match name {
            "-" => &mut message.description,
            name => &mut message.fields.iter_mut().find(|field| field.name == name)?.description,
        };
        description.clone_into(place);
        Some(())
    }

    fn collect_json(&self, id: MessageId, depth: usize, into: &mut Vec<(MessageId, u32)>) {
        for (at, field) in self.message(id).fields.iter().enumerate() {
            match field.ty {
                Type::Message(inner) if field.inline() => {
                    if depth < MAX_INLINE_DEPTH {
                        self.collect_json(inner, depth + 1, into);
                    }
                }
                _ => into.push((id, u32::try_from(at).unwrap_or(u32::MAX))),
            }
        }
    }
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn message_names(text: &str) -> HashMap<String, MessageId> {
    let names = text.lines().filter_map(|line| line.strip_prefix("message ")?.split(' ').next());
    names.zip(0..).map(|(name, id)| (name.to_owned(), MessageId(id))).collect()
}

fn parse_messages(text: &str, names: &HashMap<String, MessageId>) -> Result<Vec<Message>, TableError> {
    let mut messages: Vec<Message> = Vec::with_capacity(names.len());
    for (line, text) in lines(text) {
        let failed = |problem| TableError { line, problem, text: text.to_owned() };
        if let Some(header) = text.strip_prefix("message ") {
            let (name, object) = header.split_once(' ').unwrap_or((header, ""));
            messages.push(Message {
                name: name.to_owned(),
                description: String::new(),
                object: object == "object",
                fields: Vec::new(),
                json: Vec::new(),
            });
        } else {
            let field = parse_field(text, names).ok_or_else(|| failed("expected tag name type [flags]"))?;
            messages.last_mut().ok_or_else(|| failed("a field before any message"))?.fields.push(field);
        }
    }
    for message in &mut messages {
        message.fields.sort_by_key(|field| field.tag);
    }
    Ok(messages)
}

fn parse_field(text: &str, names: &HashMap<String, MessageId>) -> Option<Field> {
    let mut words = text.split(' ');
    let tag = words.next()?.parse().ok()?;
    let name = words.next()?;
    let ty = words.next()?;
    let (shape, ty) = match (ty.strip_prefix("[]"), ty.strip_prefix("{}")) {
        (Some(element), _) => (Shape::List, element),
        (_, Some(value)) => (Shape::Map, value),
        _ => (Shape::One, ty),
    };
    let mut field = Field {
        tag,
        name: if name == "-" { String::new() } else { name.to_owned() },
        ty: parse_type(ty, names)?,
        shape,
        presence: Presence::Always,
        required: false,
        patch_merge: false,
        retain_keys: false,
        merge_key: None,
        list_type: None,
        list_keys: Vec::new(),
        atomic: false,
        default: None,
        description: String::new(),
    };
    for flag in words {
        match flag.split_once('=').unwrap_or((flag, "")) {
            ("ptr", _) => field.presence = Presence::Pointer,
            ("omitempty", _) => field.presence = Presence::OmitEmpty,
            ("omitzero", _) => field.presence = Presence::OmitZero,
            ("required", _) => field.required = true,
            ("atomic", _) => field.atomic = true,
            ("patch", strategies) => {
                field.patch_merge = strategies.split('+').any(|one| one == "merge");
                field.retain_keys = strategies.split('+').any(|one| one == "retainKeys");
            }
            ("key", key) => field.merge_key = Some(key.to_owned()),
            ("list", "atomic") => field.list_type = Some(ListType::Atomic),
            ("list", "set") => field.list_type = Some(ListType::Set),
            ("list", "map") => field.list_type = Some(ListType::Map),
            ("keys", keys) => field.list_keys = keys.split('+').map(str::to_owned).collect(),
            _ => return None,
        }
    }
    Some(field)
}

fn parse_type(text: &str, names: &HashMap<String, MessageId>) -> Option<Type> {
    Some(match text {
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "bool" => Type::Bool,
        "int32" => Type::Int32,
        "int64" => Type::Int64,
        "double" => Type::Double,
        "time" => Type::Time,
        "microtime" => Type::MicroTime,
        "duration" => Type::Duration,
        "quantity" => Type::Quantity,
        "intorstring" => Type::IntOrString,
        "raw" => Type::Raw,
        "fields" => Type::Fields,
        "strings" => Type::Strings,
        message => Type::Message(*names.get(message)?),
    })
}

fn parse_kind(text: &str, names: &HashMap<String, MessageId>) -> Option<Kind> {
    let words: Vec<&str> = text.split(' ').collect();
    let [group, version, kind, plural, short_names, categories, scope, traits] = words[..] else {
        return None;
    };
    let list = |text: &str| -> Vec<String> {
        if text == "-" { Vec::new() } else { text.split(',').map(str::to_owned).collect() }
    };
    let mut traits = list(traits);
    let mut take = |name: &str| {
        let before = traits.len();
        traits.retain(|one| one != name);
        traits.len() < before
    };
    let (status, scale, generation) = (take("status"), take("scale"), take("generation"));
    let (unstored, create) = (take("unstored"), take("create"));
    let package = group.split('.').next()?;
    Some(Kind {
        group: if group == "core" { String::new() } else { group.to_owned() },
        version: version.to_owned(),
        kind: kind.to_owned(),
        list_kind: format!("{kind}List"),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        short_names: list(short_names),
        categories: list(categories),
        namespaced: match scope {
            "namespaced" => true,
            "cluster" => false,
            _ => return None,
        },
        status,
        scale,
        generation,
        stored: !unstored,
        served: !unstored || create,
        subresources: traits,
        message: *names.get(&format!("{package}/{version}.{kind}"))?,
    })
}
