//! What a watch tells.

/// One step of a list and watch of objects of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<T> {
    /// A complete list begins; it ends with [`Event::Synced`].
    Relist,
    /// An object is there, new or changed.
    Apply(T),
    /// An object is gone.
    Delete(T),
    /// The list is complete: what it did not name is gone.
    Synced,
}
