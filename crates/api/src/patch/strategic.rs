//! Strategic merge patch: lists merge by the keys that the schema names.
//!
//! Source: `k8s.io/apimachinery/pkg/util/strategicpatch` and its design document
//! (`community/contributors/devel/sig-api-machinery/strategic-merge-patch.md`). Directives:
//! `$patch: replace|merge|delete` in a structure, `{$patch: replace}` as a list element,
//! `$deleteFromPrimitiveList/f`, `$setElementOrder/f` and `$retainKeys` beside field `f`.
//!
//! The time that a patch takes grows with its size and that of the object, not with their product.

mod keyed;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::schema::{Field, Kind, MessageId, Schema, Shape, Type};
use crate::status::Status;
use keyed::Keyed;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

/// Patches nest at most this deep.
const MAX_DEPTH: usize = 100;

/// Applies a strategic merge patch. Unknown fields merge as JSON merge patches do, so that the decoder
/// can report them.
///
/// # Errors
/// 400 for a patch that is no object, for unknown directives, and for elements without their merge key.
pub fn strategic(schema: &Schema, kind: &Kind, target: &mut Value, patch: &Value) -> Result<(), Status> {
    let Value::Object(patch) = patch else {
        return Err(Status::bad_request("a strategic merge patch must be a JSON object"));
    };
    let merger = Merger { schema };
    merger.structure(Some(kind.message), as_object(target), patch, 0)
}

struct Merger<'s> {
    schema: &'s Schema,
}

type Object = Map<String, Value>;

impl Merger<'_> {
    fn structure(
        &self,
        message: Option<MessageId>,
        target: &mut Object,
        patch: &Object,
        depth: usize,
    ) -> Result<(), Status> {
        if depth > MAX_DEPTH {
            return Err(Status::bad_request(format!("the patch nests deeper than {MAX_DEPTH}")));
        }
        match directive(patch)? {
            Some("replace") => {
                target.clear();
                target.extend(
                    patch
                        .iter()
                        .filter(|(key, _)| *key != DIRECTIVE)
                        .map(|(key, value)| (key.clone(), value.clone())),
                );
                return Ok(());
            }
            Some("delete") => {
                target.clear();
                return Ok(());
            }
            _ => {}
        }
        if let Some(retained) = patch.get(RETAIN_KEYS) {
            let retained = retained.as_array().ok_or_else(|| {
                Status::bad_request("invalid patch format of $retainKeys: it must be a list")
            })?;
            let retained: HashSet<&str> = retained.iter().filter_map(Value::as_str).collect();
            target.retain(|key, _| retained.contains(key.as_str()));
        }
        for (key, value) in patch {
            if let Some(name) = key.strip_prefix(DELETE_FROM) {
                delete_primitives(target, name, value);
            } else if !key.starts_with('$') {
                let field = message.and_then(|message| self.schema.field(message, key));
                let order = patch.get(&format!("{ELEMENT_ORDER}{key}")).and_then(Value::as_array);
                self.field(field, target, key, value, order, depth)?;
            }
        }
        // An order may stand alone, for a list whose elements do not change.
        for (key, order) in patch {
            if let (Some(name), Some(order)) = (key.strip_prefix(ELEMENT_ORDER), order.as_array())
                && !patch.contains_key(name)
                && let Some(Value::Array(list)) = target.get_mut(name)
            {
                let merge_key = message
                    .and_then(|message| self.schema.field(message, name))
                    .and_then(|field| field.merge_key.as_deref());
                reorder(list, order, merge_key);
            }
        }
        Ok(())
    }

    fn field(
        &self,
        field: Option<&Field>,
        target: &mut Object,
        key: &str,
        value: &Value,
        order: Option<&Vec<Value>>,
        depth: usize,
    ) -> Result<(), Status> {
        match value {
            Value::Null => {
                target.remove(key);
            }
            Value::Object(patch) => {
                if directive(patch)? == Some("delete") {
                    target.remove(key);
                    return Ok(());
                }
                let message =
                    field.filter(|field| field.shape == Shape::One).and_then(|field| match field.ty {
                        Type::Message(id) => Some(id),
                        _ => None,
                    });
                let place = as_object(target.entry(key).or_insert(Value::Null));
                self.structure(message, place, patch, depth + 1)?;
            }
            Value::Array(patch) => {
                let merged = field.filter(|field| field.patch_merge);
                let Some(field) = merged else {
                    target.insert(key.to_owned(), value.clone());
                    return Ok(());
                };
                let place = target.entry(key).or_insert(Value::Null);
                if !place.is_array() {
                    *place = Value::Array(Vec::new());
                }
                let Value::Array(list) = place else { return Ok(()) };
                match (&field.merge_key, field.ty) {
                    (Some(merge_key), Type::Message(message)) => {
                        self.list(message, merge_key, list, patch, depth)?;
                    }
                    _ => {
                        let mut there: HashSet<Value> = list.iter().cloned().collect();
                        list.extend(patch.iter().filter(|one| there.insert((*one).clone())).cloned());
                    }
                }
                if let Some(order) = order {
                    reorder(list, order, field.merge_key.as_deref());
                }
            }
            scalar => {
                target.insert(key.to_owned(), scalar.clone());
            }
        }
        Ok(())
    }

    /// Merges a list of structures by its merge key.
    fn list(
        &self,
        message: MessageId,
        merge_key: &str,
        list: &mut Vec<Value>,
        patch: &[Value],
        depth: usize,
    ) -> Result<(), Status> {
        if depth > MAX_DEPTH {
            return Err(Status::bad_request(format!("the patch nests deeper than {MAX_DEPTH}")));
        }
        let whole = |one: &Value| {
            one.as_object()
                .is_some_and(|one| one.len() == 1 && one.get(DIRECTIVE) == Some(&Value::from("replace")))
        };
        if patch.iter().any(whole) {
            *list = patch.iter().filter(|one| !whole(one)).cloned().collect();
            return Ok(());
        }
        let mut keyed = Keyed::new(std::mem::take(list), merge_key);
        for element in patch {
            let element = element
                .as_object()
                .ok_or_else(|| Status::bad_request("expected a list of objects in the patch"))?;
            let action = directive(element)?;
            let Some(key) = element.get(merge_key) else {
                if action == Some("delete") && element.len() == 1 {
                    keyed = Keyed::new(Vec::new(), merge_key);
                    continue;
                }
                return Err(Status::bad_request(format!(
                    "map: {} does not contain declared merge key: {merge_key}",
                    Value::Object(element.clone())
                )));
            };
            match (action, keyed.position(key)) {
                (Some("delete"), _) => keyed.remove(key),
                (Some("replace"), Some(at)) => keyed.change(at, |one| {
                    *one = without_directives(element);
                    Ok(())
                })?,
                (_, Some(at)) => keyed
                    .change(at, |one| self.structure(Some(message), as_object(one), element, depth + 1))?,
                (_, None) => {
                    let mut fresh = Object::new();
                    let element = without_replace(element);
                    self.structure(Some(message), &mut fresh, &element, depth + 1)?;
                    keyed.push(Value::Object(fresh));
                }
            }
        }
        *list = keyed.into_list();
        Ok(())
    }
}

/// The `$patch` directive of a structure.
fn directive(patch: &Object) -> Result<Option<&str>, Status> {
    match patch.get(DIRECTIVE) {
        None => Ok(None),
        Some(Value::String(name)) if matches!(name.as_str(), "replace" | "merge" | "delete") => {
            Ok(Some(name))
        }
        Some(other) => Err(Status::bad_request(format!("Unknown patch type: {other}"))),
    }
}

fn as_object(value: &mut Value) -> &mut Object {
    if !value.is_object() {
        *value = Value::Object(Object::new());
    }
    match value {
        Value::Object(object) => object,
        _ => unreachable!("it was made an object above"),
    }
}

fn without_directives(patch: &Object) -> Value {
    Value::Object(
        patch
            .iter()
            .filter(|(key, _)| !key.starts_with('$'))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
}

fn without_replace(patch: &Object) -> Object {
    patch
        .iter()
        .filter(|(key, _)| *key != DIRECTIVE)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn delete_primitives(target: &mut Object, name: &str, deleted: &Value) {
    let (Some(Value::Array(list)), Some(deleted)) = (target.get_mut(name), deleted.as_array()) else {
        return;
    };
    let deleted: HashSet<&Value> = deleted.iter().collect();
    list.retain(|one| !deleted.contains(one));
}

/// Puts the elements that `order` names into its order; the others keep their place relative to the
/// element before them.
fn reorder(list: &mut Vec<Value>, order: &[Value], merge_key: Option<&str>) {
    let key_of = |value: &Value| match merge_key {
        Some(merge_key) => value.get(merge_key).cloned().unwrap_or_default(),
        None => value.clone(),
    };
    let mut ranks: HashMap<Value, usize> = HashMap::new();
    for (rank, value) in order.iter().enumerate() {
        ranks.entry(key_of(value)).or_insert(rank);
    }
    let mut named: Vec<(usize, Value)> = Vec::new();
    let mut others: Vec<(usize, Value)> = Vec::new();
    for value in std::mem::take(list) {
        match ranks.get(&key_of(&value)) {
            Some(rank) => named.push((*rank, value)),
            None => others.push((named.len(), value)),
        }
    }
    named.sort_by_key(|(rank, _)| *rank);
    let mut others = others.into_iter().peekable();
    for (at, (_, value)) in named.into_iter().enumerate() {
        while let Some((_, other)) = others.next_if(|(before, _)| *before <= at) {
            list.push(other);
        }
        list.push(value);
    }
    list.extend(others.map(|(_, other)| other));
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
