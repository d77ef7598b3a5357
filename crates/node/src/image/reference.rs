//! Names of images, written out as containerd stores them.

/// The registry of names that do not say theirs.
const DEFAULT_REGISTRY: &str = "docker.io";

/// Writes an image name out in full: `httpd` is `docker.io/library/httpd:latest`.
///
/// The rule is that of the distribution project's reference grammar: the first part is a registry when it
/// has a dot or a colon or is `localhost`; Docker Hub's own images are below `library/`; the tag is `latest`
/// when there is neither tag nor digest.
pub fn normalize(name: &str) -> String {
    let is_registry = |part: &str| part.contains(['.', ':']) || part == "localhost";
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest.to_owned()),
        Some(_) => (DEFAULT_REGISTRY, name.to_owned()),
        None => (DEFAULT_REGISTRY, format!("library/{name}")),
    };
    let last = path.rsplit('/').next().unwrap_or_default();
    let tag = if last.contains([':', '@']) { "" } else { ":latest" };
    format!("{registry}/{path}{tag}")
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn short_names_are_written_out_as_containerd_does() {
        for (name, full) in [
            ("httpd", "docker.io/library/httpd:latest"),
            ("httpd:2.4", "docker.io/library/httpd:2.4"),
            ("bitnami/nginx", "docker.io/bitnami/nginx:latest"),
            ("quay.io/a/b", "quay.io/a/b:latest"),
            ("localhost/a", "localhost/a:latest"),
            ("registry:5000/a:1", "registry:5000/a:1"),
            ("a@sha256:00", "docker.io/library/a@sha256:00"),
            ("docker.io/library/httpd:latest", "docker.io/library/httpd:latest"),
        ] {
            assert_eq!(normalize(name), full);
        }
    }
}
