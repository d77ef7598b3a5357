//! What a client wants to read: the object, a table of it, or its metadata.

use api::status::Status;

/// The encodings of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// The view of an object that an answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// The object itself.
    Object,
    /// `Table` of meta.k8s.io/v1: what `kubectl get` prints.
    Table,
    /// `PartialObjectMetadata` of meta.k8s.io/v1.
    Metadata,
    /// `APIGroupDiscoveryList` of apidiscovery.k8s.io; only for discovery.
    Discovery(&'static str),
}

/// One way to answer that the client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The encoding.
    pub(crate) encoding: Encoding,
    /// The view.
    pub(crate) view: View,
}

/// The stored form itself.
pub(crate) const PLAIN_JSON: Accepted = Accepted { encoding: Encoding::Json, view: View::Object };

/// The first entry of an `Accept` header that this server can serve and `serves` allows.
///
/// # Errors
/// 406 when there is none.
pub(crate) fn negotiate(header: Option<&str>, serves: fn(View) -> bool) -> Result<Accepted, Status> {
    let Some(header) = header.filter(|header| !header.trim().is_empty()) else { return Ok(PLAIN_JSON) };
    let mut entries: Vec<(f32, Accepted)> = header.split(',').filter_map(entry).collect();
    entries.retain(|(_, accepted)| serves(accepted.view));
    entries.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    entries
        .first()
        .map(|(_, accepted)| *accepted)
        .ok_or_else(|| Status::not_acceptable(&["application/json", "application/yaml"]))
}

fn entry(text: &str) -> Option<(f32, Accepted)> {
    let mut parts = text.split(';').map(str::trim);
    let encoding = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/json" | "*/*" | "application/*" => Encoding::Json,
        "application/yaml" => Encoding::Yaml,
        _ => return None,
    };
    let (mut view, mut group, mut version, mut quality) = ("", "", "", 1.0);
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        match name {
            "as" => view = value,
            "g" => group = value,
            "v" => version = value,
            "q" => quality = value.parse().unwrap_or(1.0),
            _ => {}
        }
    }
    let view = match (view, group, version) {
        ("", _, _) => View::Object,
        ("Table", "meta.k8s.io", "v1") => View::Table,
        ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => View::Metadata,
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => View::Discovery("v2"),
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => View::Discovery("v2beta1"),
        _ => return None,
    };
    Some((quality, Accepted { encoding, view }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(view: View) -> bool {
        !matches!(view, View::Discovery(_))
    }

    #[test]
    fn kubectl_get_is_answered_with_a_table() {
        let header = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(negotiate(Some(header), objects).unwrap().view, View::Table);
    }

    #[test]
    fn a_client_that_prefers_protobuf_gets_json_if_it_takes_that() {
        let header = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(negotiate(Some(header), objects).unwrap(), PLAIN_JSON);
        assert_eq!(negotiate(Some("application/vnd.kubernetes.protobuf, */*"), objects).unwrap(), PLAIN_JSON);
        assert_eq!(negotiate(Some("application/vnd.kubernetes.protobuf"), objects).unwrap_err().code, 406);
    }

    #[test]
    fn quality_orders_the_entries() {
        let accepted = negotiate(Some("application/json;q=0.2, application/yaml"), objects).unwrap();
        assert_eq!(accepted.encoding, Encoding::Yaml);
    }

    #[test]
    fn no_header_means_json() {
        assert_eq!(negotiate(None, objects).unwrap(), PLAIN_JSON);
    }
}
