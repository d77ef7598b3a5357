//! Query parameters (application/x-www-form-urlencoded).

/// The parameters of a request, in their order.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query; what cannot be decoded is taken as it stands.
    pub(super) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    /// Every value of a parameter.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    /// The first value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether one of the parameters is set, in any of Kubernetes' ways.
    pub(super) fn flag(&self, names: &[&str]) -> bool {
        names
            .iter()
            .filter_map(|name| self.get(name))
            .any(|value| matches!(value, "1" | "true" | "True" | "t"))
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let hex = |digit: Option<&u8>| digit.and_then(|&digit| char::from(digit).to_digit(16));
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => match (hex(rest.first()), hex(rest.get(1))) {
                (Some(high), Some(low)) => {
                    bytes.push((high * 16 + low) as u8);
                    rest = &rest[2..];
                }
                _ => bytes.push(b'%'),
            },
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_repeated_names_keep_their_order() {
        let query = Query::parse("command=sh&command=-c&command=echo+a%20%26%2Fb%zz&input=1&tty=false");
        assert_eq!(query.all("command"), ["sh", "-c", "echo a &/b%zz"]);
        assert!(query.flag(&["stdin", "input"]));
        assert!(!query.flag(&["tty"]));
        assert!(!query.flag(&["error"]));
    }
}
