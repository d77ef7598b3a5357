//! An object as it stands in a text, before it is read into its slim type.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

/// The text of an object: a piece of JSON, or the value that a YAML parser has made.
pub(super) trait Form: Sized {
    /// What must be known of the object before it is read.
    fn head(&self) -> Head<'_, Self>;

    /// `metadata.labels`, if it is an object.
    fn labels(&self) -> Option<Value>;

    /// The object as a type of ours.
    fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error>;
}

/// What must be known of an object before it is read. Each of these may be of another type than the API's.
pub(super) struct Head<'a, F> {
    /// `kind`, if it is a text.
    pub(super) kind: Option<Cow<'a, str>>,
    /// `metadata.name`, empty without one.
    pub(super) name: Cow<'a, str>,
    /// `items`, if it is a list.
    pub(super) items: Option<Vec<F>>,
}

impl Form for &RawValue {
    fn head(&self) -> Head<'_, Self> {
        // JSON that is no object, such as a number, has none of the fields.
        let piece: Piece<'_> = serde_json::from_str(self.get()).unwrap_or_default();
        Head {
            kind: piece.kind.and_then(text),
            name: piece.metadata.and_then(|metadata| text(metadata.name?)).unwrap_or_default(),
            items: piece.items.and_then(|items| serde_json::from_str(items.get()).ok()),
        }
    }

    fn labels(&self) -> Option<Value> {
        let piece: Piece<'_> = serde_json::from_str(self.get()).ok()?;
        serde_json::from_str(piece.metadata?.labels?.get()).ok().filter(Value::is_object)
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.get())
    }
}

/// The fields of a piece of JSON that are needed before its kind is known.
#[derive(Deserialize, Default)]
struct Piece<'a> {
    #[serde(borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<PieceMetadata<'a>>,
    #[serde(borrow)]
    items: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PieceMetadata<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    labels: Option<&'a RawValue>,
}

/// A JSON text, which is copied only if it has escapes in it.
fn text(piece: &RawValue) -> Option<Cow<'_, str>> {
    let plain = serde_json::from_str(piece.get()).map(Cow::Borrowed);
    plain.or_else(|_| serde_json::from_str(piece.get()).map(Cow::Owned)).ok()
}

impl Form for Value {
    fn head(&self) -> Head<'_, Self> {
        let text = |pointer| self.pointer(pointer).and_then(Self::as_str).map(Cow::from);
        Head {
            kind: text("/kind"),
            name: text("/metadata/name").unwrap_or_default(),
            items: self.get("items").and_then(Self::as_array).cloned(),
        }
    }

    fn labels(&self) -> Option<Value> {
        self.pointer("/metadata/labels").filter(|labels| labels.is_object()).cloned()
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(self)
    }
}
