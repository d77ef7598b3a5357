//! Which objects of a kind are followed.

use kube::runtime::watcher;

/// Which objects of a kind are followed.
///
/// ```
/// use follow::Selection;
///
/// let pods_of_a_node = Selection::all().fields("spec.nodeName=node1");
/// let one_config_map = Selection::named("kube-root-ca.crt").namespace("default");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Selection {
    namespace: Option<String>,
    config: watcher::Config,
}

impl Selection {
    /// All objects, in all namespaces.
    pub fn all() -> Self {
        Self::default()
    }

    /// The objects of this name.
    pub fn named(name: &str) -> Self {
        Self::all().fields(&format!("metadata.name={name}"))
    }

    /// Only those of one namespace.
    #[must_use]
    pub fn namespace(self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self }
    }

    /// Only those that a field selector such as `spec.nodeName=node1` finds; empty for all.
    #[must_use]
    pub fn fields(self, selector: &str) -> Self {
        Self { config: self.config.fields(selector), ..self }
    }

    /// Only those that a label selector such as `app=web` finds; empty for all.
    #[must_use]
    pub fn labels(self, selector: &str) -> Self {
        Self { config: self.config.labels(selector), ..self }
    }

    pub(crate) fn within(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    pub(crate) fn config(&self) -> watcher::Config {
        self.config.clone()
    }
}
