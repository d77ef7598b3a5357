//! JSON Patch, RFC 6902.

use serde_json::Value;

use crate::status::{Reason, Status};

/// The most operations in one patch, as upstream's limit.
const MAX_OPERATIONS: usize = 10_000;
/// The most that `copy` operations may add to the object, in JSON bytes.
const MAX_COPIED: usize = 3 * 1024 * 1024;

/// The most that all operations may move and look at, in values. Inserting into and removing from a list moves what comes
/// after, and moving a value looks at all of it, so that operations could cost as much as the object is long.
const MAX_WORK: usize = 100_000_000;

/// Objects and lists may nest this deep after a patch; without a limit a few copies of a value into
/// itself would.
const MAX_DEPTH: usize = 100;

/// Applies a JSON Patch. The target is unchanged when an operation fails.
///
/// # Errors
/// 400 for what is no patch, 413 for one with too many operations, 422 for an operation that does not
/// fit the object, a failed `test` among them.
pub fn json_patch(target: &mut Value, patch: &Value) -> Result<(), Status> {
    let operations = patch.as_array().ok_or_else(|| {
        Status::bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    })?;
    if operations.len() > MAX_OPERATIONS {
        return Err(Status::too_large(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut changed = target.clone();
    let mut budget = Budget { copied: MAX_COPIED, work: MAX_WORK };
    for operation in operations {
        apply(&mut changed, operation, &mut budget)?;
    }
    *target = changed;
    Ok(())
}

/// What the operations of one patch may still cost.
struct Budget {
    copied: usize,
    work: usize,
}

impl Budget {
    fn copy(&mut self, bytes: usize) -> Result<(), Status> {
        let rest = self.copied.checked_sub(bytes);
        self.copied = rest.ok_or_else(|| unfit("the copy operations of the patch add too much"))?;
        Ok(())
    }

    fn work(&mut self, values: usize) -> Result<(), Status> {
        let rest = self.work.checked_sub(values);
        self.work = rest.ok_or_else(|| unfit("the operations of the patch move too much"))?;
        Ok(())
    }
}

fn apply(target: &mut Value, operation: &Value, budget: &mut Budget) -> Result<(), Status> {
    let member = |name: &str| operation.get(name).and_then(Value::as_str);
    let needed = |name: &'static str| {
        member(name).ok_or_else(|| Status::bad_request(format!("a JSON patch operation has no {name:?}")))
    };
    let value = || {
        let value = operation.get("value");
        value.cloned().ok_or_else(|| Status::bad_request("a JSON patch operation has no \"value\""))
    };
    let path = pointer(needed("path")?)?;
    match needed("op")? {
        "add" => add(target, &path, value()?, budget),
        "remove" => remove(target, &path, budget).map(drop),
        "replace" => {
            let place = find_mut(target, &path)?;
            *place = shallow(&path, value()?, budget)?;
            Ok(())
        }
        "move" => {
            let from = pointer(needed("from")?)?;
            if path.len() > from.len() && path.starts_with(&from) {
                return Err(unfit("a value cannot move into itself"));
            }
            let moved = remove(target, &from, budget)?;
            add(target, &path, moved, budget)
        }
        "copy" => {
            let source = find_mut(target, &pointer(needed("from")?)?)?.clone();
            budget.copy(source.to_string().len())?;
            add(target, &path, source, budget)
        }
        "test" => {
            let found = find_mut(target, &path)?;
            let same = *found == value()?;
            if same { Ok(()) } else { Err(unfit(&format!("testing value {} failed", render(&path)))) }
        }
        other => Err(Status::bad_request(format!("Unexpected kind: {other}"))),
    }
}

/// The reference tokens of a JSON pointer (RFC 6901).
fn pointer(text: &str) -> Result<Vec<String>, Status> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let rest = text
        .strip_prefix('/')
        .ok_or_else(|| Status::bad_request(format!("the JSON pointer {text:?} does not begin with \"/\"")))?;
    Ok(rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect())
}

fn render(path: &[String]) -> String {
    path.iter().map(|token| format!("/{}", token.replace('~', "~0").replace('/', "~1"))).collect()
}

fn find_mut<'a>(target: &'a mut Value, path: &[String]) -> Result<&'a mut Value, Status> {
    let missing = || unfit(&format!("the path {:?} does not exist", render(path)));
    path.iter().try_fold(target, |value, token| match value {
        Value::Object(object) => object.get_mut(token).ok_or_else(missing),
        Value::Array(list) => index(token).and_then(|at| list.get_mut(at)).ok_or_else(missing),
        _ => Err(missing()),
    })
}

/// The value, when it does not nest too deep at that path.
fn shallow(path: &[String], value: Value, budget: &mut Budget) -> Result<Value, Status> {
    let (depth, size) = extent(&value);
    budget.work(size)?;
    if path.len() + depth > MAX_DEPTH {
        return Err(unfit(&format!("the object would nest deeper than {MAX_DEPTH}")));
    }
    Ok(value)
}

/// How deep a value nests, and how many values it is.
fn extent(value: &Value) -> (usize, usize) {
    let together = |(depth, size): (usize, usize), one: &Value| {
        let (deeper, more) = extent(one);
        (depth.max(deeper + 1), size + more)
    };
    match value {
        Value::Object(object) => object.values().fold((1, 1), together),
        Value::Array(list) => list.iter().fold((1, 1), together),
        _ => (0, 1),
    }
}

fn add(target: &mut Value, path: &[String], value: Value, budget: &mut Budget) -> Result<(), Status> {
    let value = shallow(path, value, budget)?;
    let Some((last, parents)) = path.split_last() else {
        *target = value;
        return Ok(());
    };
    match find_mut(target, parents)? {
        Value::Object(object) => {
            object.insert(last.clone(), value);
            Ok(())
        }
        Value::Array(list) if last == "-" => {
            list.push(value);
            Ok(())
        }
        Value::Array(list) => {
            let at = index(last).filter(|at| *at <= list.len());
            let at = at.ok_or_else(|| unfit(&format!("the index of {:?} is out of range", render(path))))?;
            budget.work(list.len() - at)?;
            list.insert(at, value);
            Ok(())
        }
        _ => Err(unfit(&format!("the parent of {:?} has no members", render(path)))),
    }
}

fn remove(target: &mut Value, path: &[String], budget: &mut Budget) -> Result<Value, Status> {
    let missing = || unfit(&format!("the path {:?} does not exist", render(path)));
    let (last, parents) = path.split_last().ok_or_else(|| unfit("the whole object cannot be removed"))?;
    match find_mut(target, parents)? {
        Value::Object(object) => object.remove(last).ok_or_else(missing),
        Value::Array(list) => {
            let at = index(last).filter(|at| *at < list.len()).ok_or_else(missing)?;
            budget.work(list.len() - at)?;
            Ok(list.remove(at))
        }
        _ => Err(missing()),
    }
}

/// An array index: digits without a leading zero.
fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || (!token.starts_with('0') && token.bytes().all(|one| one.is_ascii_digit()));
    plain.then(|| token.parse().ok()).flatten()
}

fn unfit(problem: &str) -> Status {
    Status::new(
        422,
        Reason::Invalid,
        format!("the server rejected our request due to an error in our request: {problem}"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rfc_6902_appendix_a() {
        let table = [
            (
                json!({"foo": "bar"}),
                json!([{"op": "add", "path": "/baz", "value": "qux"}]),
                json!({"baz": "qux", "foo": "bar"}),
            ),
            (
                json!({"foo": ["bar", "baz"]}),
                json!([{"op": "add", "path": "/foo/1", "value": "qux"}]),
                json!({"foo": ["bar", "qux", "baz"]}),
            ),
            (
                json!({"baz": "qux", "foo": "bar"}),
                json!([{"op": "remove", "path": "/baz"}]),
                json!({"foo": "bar"}),
            ),
            (
                json!({"foo": ["bar", "qux", "baz"]}),
                json!([{"op": "remove", "path": "/foo/1"}]),
                json!({"foo": ["bar", "baz"]}),
            ),
            (
                json!({"baz": "qux"}),
                json!([{"op": "replace", "path": "/baz", "value": "boo"}]),
                json!({"baz": "boo"}),
            ),
            (
                json!({"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}),
                json!([{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]),
                json!({"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}}),
            ),
            (
                json!({"foo": ["all", "grass", "cows", "eat"]}),
                json!([{"op": "move", "from": "/foo/1", "path": "/foo/3"}]),
                json!({"foo": ["all", "cows", "eat", "grass"]}),
            ),
            (
                json!({"a/b": 1, "m~n": 2}),
                json!([{"op": "test", "path": "/a~1b", "value": 1}, {"op": "remove", "path": "/m~0n"}]),
                json!({"a/b": 1}),
            ),
            (
                json!({"foo": ["bar"]}),
                json!([{"op": "add", "path": "/foo/-", "value": ["abc"]}]),
                json!({"foo": ["bar", ["abc"]]}),
            ),
            (json!({"a": 1}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), json!({"a": 1, "b": 1})),
        ];
        for (mut target, patch, expected) in table {
            json_patch(&mut target, &patch).unwrap();
            assert_eq!(target, expected, "{patch}");
        }
    }

    #[test]
    fn operations_that_do_not_fit_change_nothing() {
        let original = json!({"a": {"b": [1]}, "c": "text"});
        let table = [
            (json!([{"op": "add", "path": "/x/y", "value": 1}]), 422),
            (json!([{"op": "add", "path": "/a/b/2", "value": 1}]), 422),
            (json!([{"op": "add", "path": "/a/b/01", "value": 1}]), 422),
            (json!([{"op": "remove", "path": "/x"}]), 422),
            (json!([{"op": "remove", "path": ""}]), 422),
            (json!([{"op": "replace", "path": "/x", "value": 1}]), 422),
            (
                json!([{"op": "add", "path": "/z", "value": 1}, {"op": "test", "path": "/c", "value": "other"}]),
                422,
            ),
            (json!([{"op": "move", "from": "/a", "path": "/a/b"}]), 422),
            (json!([{"op": "add", "path": "/c/d", "value": 1}]), 422),
            (json!([{"op": "add", "path": "a", "value": 1}]), 400),
            (json!([{"op": "add", "path": "/a"}]), 400),
            (json!([{"op": "grow", "path": "/a"}]), 400),
            (json!([1]), 400),
            (json!({}), 400),
        ];
        for (patch, code) in table {
            let mut target = original.clone();
            assert_eq!(json_patch(&mut target, &patch).unwrap_err().code, code, "{patch}");
            assert_eq!(target, original);
        }
    }

    #[test]
    fn what_operations_move_is_bounded() {
        let add = json!({"op": "add", "path": "/a/0", "value": 1});
        let (short, long) = (json!({"a": [1, 2]}), json!({"a": vec![1; 50_000]}));
        for (object, code) in [(short, None), (long, Some(422))] {
            let patch = Value::Array(vec![add.clone(); MAX_OPERATIONS]);
            let refused = json_patch(&mut object.clone(), &patch).err();
            assert_eq!(refused.map(|status| status.code), code);
        }
        let there = json!({"op": "move", "from": "/a", "path": "/b"});
        let back = json!({"op": "move", "from": "/b", "path": "/a"});
        let patch: Vec<Value> = [there, back].into_iter().cycle().take(MAX_OPERATIONS).collect();
        let refused = json_patch(&mut json!({"a": vec![1; 50_000]}), &patch.into()).unwrap_err();
        assert_eq!(refused.code, 422);
    }

    #[test]
    fn copies_are_bounded() {
        let double = json!({"op": "copy", "from": "/a", "path": "/a/-"});
        let patch = Value::Array(vec![double; 40]);
        assert_eq!(json_patch(&mut json!({"a": ["x"]}), &patch).unwrap_err().code, 422);
        let nest = json!({"op": "copy", "from": "/a", "path": "/a/a"});
        let patch = Value::Array(vec![nest; 200]);
        assert_eq!(json_patch(&mut json!({"a": {}}), &patch).unwrap_err().code, 422);
    }
}
