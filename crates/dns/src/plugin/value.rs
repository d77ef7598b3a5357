//! What directives are read into.

/// The value of a directive in a server block.
pub(super) trait Value: Default {
    /// Whether metrics list the directive (`coredns_plugin_enabled`).
    fn is_enabled(&self) -> bool;
}

impl Value for bool {
    fn is_enabled(&self) -> bool {
        *self
    }
}

impl<T> Value for Option<T> {
    fn is_enabled(&self) -> bool {
        self.is_some()
    }
}

impl<T> Value for Vec<T> {
    fn is_enabled(&self) -> bool {
        !self.is_empty()
    }
}
