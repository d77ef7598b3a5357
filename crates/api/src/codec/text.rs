//! JSON and YAML text to values, noticing keys that occur twice.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::options::DuplicateKeyPolicy;

/// Objects and lists may nest this deep.
pub(super) const MAX_DEPTH: usize = 100;

/// Keys that occur twice are told up to this number (upstream's limit): their paths grow with their depth.
const MAX_DUPLICATES: usize = 100;

/// A value and the paths of the keys that occurred twice in it; the last occurrence counts.
pub(super) struct Parsed {
    pub(super) value: Value,
    pub(super) duplicates: Vec<String>,
}

/// Parses one JSON document.
pub(super) fn json(body: &[u8]) -> Result<Parsed, String> {
    let duplicates = RefCell::new(Vec::new());
    let mut source = serde_json::Deserializer::from_slice(body);
    let value = Node { duplicates: &duplicates, depth: 0 }
        .deserialize(&mut source)
        .and_then(|value| source.end().map(|()| value))
        .map_err(|error| format!("json parse error: {error}"))?;
    Ok(Parsed { value, duplicates: duplicates.into_inner() })
}

/// What aliases may add to a YAML document: values, and bytes of text.
const ALIASED: usize = 4096;
const ALIASED_BYTES: usize = 64 * 1024;

/// Parses one YAML document. Without aliases a document has fewer values than bytes; with them it may have a little more,
/// so that what it takes to read follows from its size.
pub(super) fn yaml(body: &[u8]) -> Result<Parsed, String> {
    let text = std::str::from_utf8(body).map_err(|error| format!("yaml parse error: {error}"))?;
    let duplicates = RefCell::new(Vec::new());
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_nodes: text.len() + ALIASED,
            max_events: 4 * (text.len() + ALIASED),
            max_total_scalar_bytes: text.len() + ALIASED_BYTES,
            max_depth: MAX_DEPTH + 1,
        },
    };
    let value = serde_saphyr::with_deserializer_from_str_with_options(text, options, |source| {
        Node { duplicates: &duplicates, depth: 0 }.deserialize(source)
    })
    .map_err(|error| format!("yaml parse error: {error}"))?;
    Ok(Parsed { value, duplicates: duplicates.into_inner() })
}

/// Builds a value; paths in `duplicates` are relative to it and completed by its parents.
#[derive(Clone, Copy)]
struct Node<'a> {
    duplicates: &'a RefCell<Vec<String>>,
    depth: usize,
}

impl Node<'_> {
    fn child<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format!("exceeded max depth of {MAX_DEPTH}")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    /// Puts `prefix` before the paths that were noticed since there were `from` of them.
    fn complete_paths(self, from: usize, prefix: impl FnOnce() -> String) {
        let mut duplicates = self.duplicates.borrow_mut();
        if duplicates.len() > from {
            let prefix = prefix();
            for path in &mut duplicates[from..] {
                let dot = if path.starts_with('[') { "" } else { "." };
                *path = format!("{prefix}{dot}{path}");
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let child = self.child()?;
        let mut list = Vec::new();
        loop {
            let noticed = self.duplicates.borrow().len();
            let Some(element) = elements.next_element_seed(child)? else { break };
            self.complete_paths(noticed, || format!("[{}]", list.len()));
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let child = self.child()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let noticed = self.duplicates.borrow().len();
            let value = entries.next_value_seed(child)?;
            self.complete_paths(noticed, || key.clone());
            if map.contains_key(&key) && self.duplicates.borrow().len() < MAX_DUPLICATES {
                self.duplicates.borrow_mut().push(key.clone());
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn duplicate_keys_are_named_by_path_and_the_last_counts() {
        let parsed = json(br#"{"a":{"b":[{"c":1},{"c":1,"c":2}]},"a2":1,"a2":2}"#).unwrap();
        assert_eq!(parsed.duplicates, ["a.b[1].c", "a2"]);
        assert_eq!(parsed.value, json!({"a": {"b": [{"c": 1}, {"c": 2}]}, "a2": 2}));
        let parsed = yaml(b"a:\n  b: 1\n  b: 2\n").unwrap();
        assert_eq!(parsed.duplicates, ["a.b"]);
        assert_eq!(parsed.value, json!({"a": {"b": 2}}));
    }

    #[test]
    fn yaml_scalars_have_their_json_types() {
        let parsed = yaml(b"port: 80\nname: \"80\"\non: true\nnone: null\nempty:\nrate: 1.5\n").unwrap();
        assert_eq!(
            parsed.value,
            json!({"port": 80, "name": "80", "on": true, "none": null, "empty": null, "rate": 1.5})
        );
        let flow = yaml(br#"{"kind": "Service", "list": [1, "a"]}"#).unwrap();
        assert_eq!(flow.value, json!({"kind": "Service", "list": [1, "a"]}));
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "[".repeat(5000);
        assert!(json(deep.as_bytes()).is_err());
        assert!(yaml(deep.as_bytes()).is_err());
        let fine = format!("{}{}", "[".repeat(90), "]".repeat(90));
        assert!(json(fine.as_bytes()).is_ok());
    }

    #[test]
    fn trailing_text_and_broken_text_are_errors() {
        for body in [&b"{} {}"[..], b"{", b"", b"{\"a\":}", b"\xff"] {
            assert!(json(body).is_err());
        }
        for body in [&b"a: [1"[..], b"a: b: c", b"\xff", b"a: *nowhere"] {
            assert!(yaml(body).is_err());
        }
    }

    #[test]
    fn aliases_make_little_more_of_a_document_than_it_is() {
        let bomb = |levels: usize| {
            let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
            for n in 1..levels {
                let uses = vec![format!("*a{}", n - 1); 10].join(",");
                text.push_str(&format!("a{n}: &a{n} [{uses}]\n"));
            }
            yaml(text.as_bytes()).is_ok()
        };
        assert!(bomb(3) && !bomb(5) && !bomb(9));
        let long = |uses: usize| {
            let text = format!("x: &x {}\ny: [{}]\n", "z".repeat(10_000), vec!["*x"; uses].join(","));
            yaml(text.as_bytes()).is_ok()
        };
        assert!(long(5) && !long(50));
        let many: String = (0..300_000).map(|n| format!("{n}: v\n")).collect();
        assert!(yaml(many.as_bytes()).is_ok(), "what is written out is no bomb");
    }
}
