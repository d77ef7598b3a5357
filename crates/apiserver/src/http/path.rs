//! The grammar of API paths.

use std::borrow::Cow;

/// What a path of the API names: a collection, an object or a part of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    /// The API group; empty for the core group.
    pub(crate) group: String,
    /// The version within the group.
    pub(crate) version: String,
    /// The namespace that the path names.
    pub(crate) namespace: Option<String>,
    /// The plural resource name.
    pub(crate) resource: String,
    /// The object's name; none for a collection.
    pub(crate) name: Option<String>,
    /// The part of the object, for example `status`.
    pub(crate) subresource: Option<String>,
}

/// The subresources of namespaces; any other second word under a namespace is a resource in it.
const NAMESPACE_PARTS: [&str; 2] = ["status", "finalize"];

/// Reads a path as `/api/v1/…` or `/apis/GROUP/VERSION/…`; none if it has another form.
pub(crate) fn parse(path: &str) -> Option<ResourcePath> {
    let words = path.split('/').filter(|word| !word.is_empty()).map(decode).collect::<Option<Vec<_>>>()?;
    let words: Vec<&str> = words.iter().map(Cow::as_ref).collect();
    let (group, version, rest) = match words.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        ["namespaces", name, part, ..] if !NAMESPACE_PARTS.contains(part) => (Some(*name), &rest[2..]),
        _ => (None, rest),
    };
    let (resource, name, subresource) = match rest {
        [resource] => (*resource, None, None),
        [resource, name] => (*resource, Some(*name), None),
        [resource, name, part] => (*resource, Some(*name), Some(*part)),
        _ => return None,
    };
    Some(ResourcePath {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.map(str::to_owned),
        resource: resource.to_owned(),
        name: name.map(str::to_owned),
        subresource: subresource.map(str::to_owned),
    })
}

/// Percent-decodes one word of a path; none if it is not UTF-8 or would contain a slash.
fn decode(word: &str) -> Option<Cow<'_, str>> {
    let decoded = percent_encoding::percent_decode_str(word).decode_utf8().ok()?;
    (!decoded.contains('/')).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(path: &str) -> Option<String> {
        let p = parse(path)?;
        let or_dash = |s: Option<String>| s.unwrap_or_else(|| "-".to_owned());
        Some(format!(
            "{}/{} {} {} {} {}",
            p.group,
            p.version,
            or_dash(p.namespace),
            p.resource,
            or_dash(p.name),
            or_dash(p.subresource)
        ))
    }

    #[test]
    fn every_shape_of_an_api_path() {
        for (path, expected) in [
            ("/api/v1/nodes", "/v1 - nodes - -"),
            ("/api/v1/namespaces", "/v1 - namespaces - -"),
            ("/api/v1/namespaces/dev", "/v1 - namespaces dev -"),
            ("/api/v1/namespaces/dev/status", "/v1 - namespaces dev status"),
            ("/api/v1/namespaces/dev/finalize", "/v1 - namespaces dev finalize"),
            ("/api/v1/namespaces/dev/pods", "/v1 dev pods - -"),
            ("/api/v1/namespaces/dev/pods/web/log", "/v1 dev pods web log"),
            ("/apis/apps/v1/deployments", "apps/v1 - deployments - -"),
            ("/apis/apps/v1/namespaces/dev/deployments/web/scale", "apps/v1 dev deployments web scale"),
            ("/api/v1/namespaces/a%20b/pods", "/v1 a b pods - -"),
        ] {
            assert_eq!(words(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn other_paths_name_nothing() {
        for path in [
            "/",
            "/api",
            "/api/v1",
            "/apis/apps",
            "/apis/apps/v1",
            "/x/v1/pods",
            "/api/v1/a/b/c/d",
            "/api/v1/pods/a%2fb",
        ] {
            assert_eq!(words(path), None, "{path}");
        }
    }
}
