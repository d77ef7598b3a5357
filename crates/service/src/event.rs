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

impl<T> Event<T> {
    /// The same step about something that is made of each object.
    pub fn map<U>(self, of: impl FnOnce(T) -> U) -> Event<U> {
        match self {
            Self::Relist => Event::Relist,
            Self::Apply(object) => Event::Apply(of(object)),
            Self::Delete(object) => Event::Delete(of(object)),
            Self::Synced => Event::Synced,
        }
    }
}
