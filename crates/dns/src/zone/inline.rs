//! Lists that mostly have one value and keys that mostly are short, kept without a pointer to other memory: a query
//! has to wait for each place in memory that it reads.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use super::Key;

/// A list of values.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OneOrMany<T> {
    /// One value.
    One(T),
    /// None, or several.
    All(Box<[T]>),
}

impl<T> From<Vec<T>> for OneOrMany<T> {
    fn from(values: Vec<T>) -> Self {
        match <[T; 1]>::try_from(values) {
            Ok([one]) => Self::One(one),
            Err(all) => Self::All(all.into()),
        }
    }
}

impl<T> Deref for OneOrMany<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::All(all) => all,
        }
    }
}

/// The longest key that is kept without a pointer, in bytes.
const SHORT: usize = 38;

/// The key of a Service in a map.
#[derive(Debug, Clone)]
pub(super) enum InlineKey {
    Short(u8, [u8; SHORT]),
    Long(Key),
}

impl From<&Key> for InlineKey {
    fn from(key: &Key) -> Self {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..key.len()) {
            Some(place) => {
                place.copy_from_slice(key);
                Self::Short(key.len() as u8, bytes)
            }
            None => Self::Long(key.clone()),
        }
    }
}

impl Borrow<[u8]> for InlineKey {
    fn borrow(&self) -> &[u8] {
        match self {
            Self::Short(length, bytes) => &bytes[..usize::from(*length)],
            Self::Long(key) => key,
        }
    }
}

impl PartialEq for InlineKey {
    fn eq(&self, other: &Self) -> bool {
        let (own, other): (&[u8], &[u8]) = (self.borrow(), other.borrow());
        own == other
    }
}

impl Eq for InlineKey {}

impl Hash for InlineKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bytes: &[u8] = self.borrow();
        bytes.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_whatever_their_length() {
        for length in [1, SHORT, SHORT + 1, 120] {
            let key: Key = vec![7; length].into();
            let held: &[u8] = &key;
            assert_eq!(<InlineKey as Borrow<[u8]>>::borrow(&InlineKey::from(&key)), held);
        }
    }
}
