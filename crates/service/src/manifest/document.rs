//! The documents of a text, and the objects of a document.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::form::Form;
use super::{Objects, Options, kind_of_items};

/// The documents of a YAML stream that hold anything: a line that begins with `---` starts the next (YAML 1.2,
/// section 9.1).
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    let documents = std::iter::from_fn(move || {
        let text = rest?;
        let mut offset = 0;
        for line in text.split_inclusive('\n') {
            if line.strip_prefix("---").is_some_and(|after| {
                after.trim_start_matches([' ', '\t']) != after || after.trim().is_empty()
            }) {
                rest = Some(&text[offset + 3..]);
                return Some(&text[..offset]);
            }
            offset += line.len();
        }
        rest = None;
        Some(text)
    });
    let has_content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    documents.filter(move |document| document.lines().any(has_content))
}

/// The objects of a document. One that begins like JSON is read as JSON first, which is quicker for large clusters.
pub(super) fn read(document: &str, options: Options) -> Result<Objects, String> {
    if !document.trim_start().starts_with(['{', '[']) {
        return yaml(document, options).map_err(|error| error.to_string());
    }
    match json_values(document) {
        Ok(values) => {
            let mut objects = Objects::with(options);
            let mut values = values.into_iter().filter(|value| value.get() != "null");
            values.try_for_each(|value| objects.take(value, None))?;
            Ok(objects)
        }
        Err(error) => yaml(document, options).map_err(|in_yaml| match in_yaml {
            // The text is meant to be JSON.
            YamlError::Syntax(_) => format!("cannot be read as JSON: {error}"),
            YamlError::Object(message) => message,
        }),
    }
}

/// The values of a JSON text, which may follow each other. They are pieces of the text.
fn json_values(document: &str) -> Result<Vec<&RawValue>, serde_json::Error> {
    serde_json::Deserializer::from_str(document).into_iter().collect()
}

/// Why a YAML document cannot be taken.
enum YamlError {
    Syntax(serde_saphyr::Error),
    /// The YAML is fine, an object in it is not.
    Object(String),
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => write!(f, "cannot be read as YAML: {error}"),
            Self::Object(message) => f.write_str(message),
        }
    }
}

fn yaml(document: &str, options: Options) -> Result<Objects, YamlError> {
    // The text is the user's own, so its size is no attack.
    let limits = serde_saphyr::options! { budget: None };
    let mut reading = Reading { objects: Objects::with(options), failure: None };
    serde_saphyr::with_deserializer_from_str_with_options(document, limits, |deserializer| {
        Root(&mut reading).deserialize(deserializer)
    })
    .map_err(YamlError::Syntax)?;
    match reading.failure {
        Some(message) => Err(YamlError::Object(message)),
        None => Ok(reading.objects),
    }
}

/// The objects read so far. After an object that is not accepted, the rest is only looked at as YAML.
struct Reading {
    objects: Objects,
    failure: Option<String>,
}

impl Reading {
    fn take(&mut self, object: Value, kind: Option<&str>) {
        if self.failure.is_none() {
            self.failure = self.objects.take(object, kind).err();
        }
    }
}

/// The root of a document: an object, or a list whose items are taken one by one as the parser reaches them.
struct Root<'a>(&'a mut Reading);

impl<'de> DeserializeSeed<'de> for Root<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Root<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut fields = Map::new();
        // Items that do not say their kind, which may come after them.
        let mut unnamed = None;
        while let Some(field) = map.next_key::<String>()? {
            match field == "items" {
                true => match map.next_value_seed(Items(self.0))? {
                    Content::List(items) => unnamed = Some(items),
                    Content::Other(value) => drop(fields.insert(field, value)),
                },
                false => drop(fields.insert(field, map.next_value()?)),
            }
        }
        let root = Value::Object(fields);
        match unnamed {
            Some(items) => {
                let head = root.head();
                let kind = head.kind.as_deref().and_then(kind_of_items);
                items.into_iter().for_each(|item| self.0.take(item, kind));
            }
            None => self.0.take(root, None),
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// The value of `items`: its elements are taken as they come, except those without a kind.
struct Items<'a>(&'a mut Reading);

/// What `items` of an object was.
enum Content {
    /// A list. Here are the elements that do not say their kind.
    List(Vec<Value>),
    /// Anything else; the object is not a list.
    Other(Value),
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = Content;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of Kubernetes objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
        let mut unnamed = Vec::new();
        while let Some(item) = list.next_element::<Value>()? {
            match item.head().kind {
                Some(_) => self.0.take(item, None),
                None => unnamed.push(item),
            }
        }
        Ok(Content::List(unnamed))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Content, A::Error> {
        Value::deserialize(MapAccessDeserializer::new(map)).map(Content::Other)
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Other(Value::Null))
    }
}
