//! The forms of names, keys and label values, and what upstream says of texts that do not have them.
//!
//! Source: `k8s.io/apimachinery/pkg/util/validation` and `pkg/api/validate/content`; the texts are what
//! users search for, so they are upstream's to the letter. Each function returns the complaints, none
//! for a text that is fine.

/// The longest DNS label (RFC 1035) and label value, in bytes.
const MAX_LABEL: usize = 63;
/// The longest DNS name, in bytes.
const MAX_SUBDOMAIN: usize = 253;
/// The longest IANA service name (RFC 6335).
const MAX_SERVICE_NAME: usize = 15;

const LABEL_1123: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_1123: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const KEY_NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_NAME: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";

/// One of the forms below: a text to complaints about it.
pub type Form = fn(&str) -> Vec<String>;

/// A DNS label after RFC 1123, lower case.
#[must_use]
pub fn dns1123_label(text: &str) -> Vec<String> {
    labelled(text, MAX_LABEL, LABEL_1123, is_label_1123)
}

/// DNS labels after RFC 1123 joined by dots, lower case.
#[must_use]
pub fn dns1123_subdomain(text: &str) -> Vec<String> {
    labelled(text, MAX_SUBDOMAIN, SUBDOMAIN_1123, |text| text.split('.').all(is_label_1123))
}

/// A DNS label after RFC 1035, lower case: it begins with a letter.
#[must_use]
pub fn dns1035_label(text: &str) -> Vec<String> {
    let holds = |text: &str| text.starts_with(|one: char| one.is_ascii_lowercase()) && is_label_1123(text);
    labelled(text, MAX_LABEL, LABEL_1035, holds)
}

/// A key of labels and annotations: a name, optionally after a DNS name and a slash.
#[must_use]
pub fn qualified_name(text: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (prefix, name) = match parts[..] {
        [name] => (None, name),
        [prefix, name] => (Some(prefix), name),
        _ => {
            return vec![format!(
                "a valid label key {KEY_NAME} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    let mut complaints = Vec::new();
    match prefix {
        Some("") => complaints.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => {
            complaints.extend(dns1123_subdomain(prefix).into_iter().map(|one| format!("prefix part {one}")));
        }
        None => {}
    }
    if name.is_empty() {
        complaints.push("name part must be non-empty".to_owned());
    } else if name.len() > MAX_LABEL {
        complaints.push(format!("name part {}", too_long(MAX_LABEL)));
    }
    if !is_key_name(name) {
        complaints.push(format!("name part {KEY_NAME}"));
    }
    complaints
}

/// The value of a label.
#[must_use]
pub fn label_value(text: &str) -> Vec<String> {
    labelled(text, MAX_LABEL, LABEL_VALUE, |text| text.is_empty() || is_key_name(text))
}

/// A key of a ConfigMap or Secret: a file name.
#[must_use]
pub fn config_key(text: &str) -> Vec<String> {
    let characters = |one: u8| one.is_ascii_alphanumeric() || matches!(one, b'-' | b'_' | b'.');
    let holds = |text: &str| !text.is_empty() && text.bytes().all(characters);
    let mut complaints = labelled(text, MAX_SUBDOMAIN, CONFIG_KEY, holds);
    match text {
        "." => complaints.push("must not be '.'".to_owned()),
        ".." => complaints.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => complaints.push("must not start with '..'".to_owned()),
        _ => {}
    }
    complaints
}

/// The name of an environment variable.
#[must_use]
pub fn env_name(text: &str) -> Vec<String> {
    let printable = |one: u8| (b' '..=b'~').contains(&one) && one != b'=';
    let mut complaints = Vec::new();
    if text.is_empty() {
        complaints.push("environment variable name must be non-empty".to_owned());
    }
    if !text.bytes().all(printable) {
        complaints.push(ENV_NAME.to_owned());
    }
    complaints
}

/// A port's name after RFC 6335, as container ports and named target ports have.
#[must_use]
pub fn port_name(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if text.len() > MAX_SERVICE_NAME {
        complaints.push(format!("must be no more than {MAX_SERVICE_NAME} characters"));
    }
    let allowed = |one: u8| one.is_ascii_lowercase() || one.is_ascii_digit() || one == b'-';
    if !text.bytes().all(allowed) {
        complaints.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|one| one.is_ascii_lowercase()) {
        complaints.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        complaints.push("must not contain consecutive hyphens".to_owned());
    }
    if text.is_empty() || text.starts_with('-') || text.ends_with('-') {
        complaints.push("must not begin or end with a hyphen".to_owned());
    }
    complaints
}

/// A port number.
#[must_use]
pub fn port_number(port: i64) -> Vec<String> {
    between(port, 1, 65535)
}

/// A number within inclusive limits.
#[must_use]
pub fn between(number: i64, low: i64, high: i64) -> Vec<String> {
    if (low..=high).contains(&number) {
        Vec::new()
    } else {
        vec![format!("must be between {low} and {high}, inclusive")]
    }
}

fn labelled(text: &str, limit: usize, form: &str, holds: impl Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    if text.len() > limit {
        complaints.push(too_long(limit));
    }
    if !holds(text) {
        complaints.push(form.to_owned());
    }
    complaints
}

fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

fn is_label_1123(text: &str) -> bool {
    let edge = |one: Option<u8>| one.is_some_and(|one| one.is_ascii_lowercase() || one.is_ascii_digit());
    let inner = |one: u8| one.is_ascii_lowercase() || one.is_ascii_digit() || one == b'-';
    edge(text.bytes().next()) && edge(text.bytes().next_back()) && text.bytes().all(inner)
}

fn is_key_name(text: &str) -> bool {
    let edge = |one: Option<u8>| one.is_some_and(|one| one.is_ascii_alphanumeric());
    let inner = |one: u8| one.is_ascii_alphanumeric() || matches!(one, b'-' | b'_' | b'.');
    edge(text.bytes().next()) && edge(text.bytes().next_back()) && text.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_takes_and_refuses() {
        let long = "a".repeat(64);
        let table: [(Form, &[&str], &[&str]); 8] = [
            (dns1123_label, &["a", "0", "a-b", "1a"], &["", "A", "-a", "a-", "a.b", "a_b", "ä", &long]),
            (dns1123_subdomain, &["a", "a.b", "1.2"], &["", ".", "a..b", "a.", "A.b", "a_b"]),
            (dns1035_label, &["a", "a-1"], &["", "1a", "-a", "a.b", "A"]),
            (
                qualified_name,
                &["a", "A_b.c", "ex.com/a"],
                &["", "/a", "ex.com/", "a/b/c", "-a", "Ex.com/a", &long],
            ),
            (label_value, &["", "a", "A_b.1"], &["-a", "a b", "a/", &long]),
            (config_key, &["a.yaml", "A_B"], &["", ".", "..", "...", "..a", "a/b", "a b"]),
            (port_name, &["http", "a-1", "123456789012b"], &["", "1", "a--b", "-a", "A", "abcdefghijklmnop"]),
            (env_name, &["A", "a.b", "1 x"], &["", "A=B", "\u{e4}", "a\n"]),
        ];
        for (form, fine, wrong) in table {
            for text in fine {
                assert!(form(text).is_empty(), "{text:?}");
            }
            for text in wrong {
                assert!(!form(text).is_empty(), "{text:?}");
            }
        }
        assert!(port_number(0).len() + port_number(65536).len() == 2 && port_number(443).is_empty());
    }
}
