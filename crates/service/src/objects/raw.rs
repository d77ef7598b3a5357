//! Reading single values of Kubernetes JSON leniently.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

/// A TCP, UDP or SCTP port; numbers outside 1-65535 read as none.
pub(crate) fn port(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port != 0)
}

/// Addresses; what is not one is left out.
pub(crate) fn addresses<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<IpAddr> {
    texts.into_iter().filter_map(|text| text.trim().parse().ok()).collect()
}

/// A list or object that may be `null`, as Go writes empty ones.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `Arc<str>`, without serde's feature for all reference-counted types.
pub(crate) fn shared(text: Option<String>) -> Option<Arc<str>> {
    text.filter(|text| !text.is_empty()).map(Arc::from)
}
