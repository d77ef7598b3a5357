//! The head of a CONNECT request (RFC 9110, section 9.3.6), and the answers to it.

use std::fmt;

/// The longest head that is read, in bytes.
pub(super) const MAX_HEAD: usize = 8 << 10;
/// What ends a head.
const END: &[u8] = b"\r\n\r\n";

/// Whom a client wants to reach.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    /// A name or an address; an IPv6 address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A status code and the sentence that stands behind it: clients show that as the reason of their failure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal(pub(super) u16, pub(super) String);

impl Refusal {
    /// The whole answer; the connection ends with it.
    pub(super) fn answer(&self) -> String {
        let Self(code, reason) = self;
        // The reason is one line (RFC 9112, section 4), whatever words of the system's are in it.
        let reason: String = reason.chars().filter(|c| !c.is_control()).collect();
        let allow = if *code == 405 { "Allow: CONNECT\r\n" } else { "" };
        format!("HTTP/1.1 {code} {reason}\r\n{allow}Content-Length: 0\r\nConnection: close\r\n\r\n")
    }
}

/// Reads the head at the begin of `bytes`: its target and its length. `None` when its end is yet to come.
///
/// # Errors
/// It is too long, no HTTP/1, no CONNECT, or has no target; all of that is said as early as it shows.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Target, usize)>, Refusal> {
    let Some(end) = bytes.windows(END.len()).position(|window| window == END) else {
        return if bytes.len() < MAX_HEAD {
            Ok(None)
        } else {
            Err(Refusal(431, format!("the request is longer than {MAX_HEAD} bytes")))
        };
    };
    let malformed = || Refusal(400, "this is no HTTP/1.1 request".into());
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| malformed())?;
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(malformed());
    };
    if !version.starts_with("HTTP/1.") {
        return Err(malformed());
    }
    if method != "CONNECT" {
        return Err(Refusal(405, "this proxy tunnels CONNECT requests to HTTPS servers only".into()));
    }
    let target =
        authority(target).ok_or_else(|| Refusal(400, "the target of CONNECT must be HOST:PORT".into()))?;
    Ok(Some((target, end + END.len())))
}

/// Reads `host:port` (RFC 3986, section 3.2) without user information.
fn authority(text: &str) -> Option<Target> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|six| six.parse::<std::net::Ipv6Addr>().is_ok())?,
        None => host,
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let is_host = !host.is_empty() && (text.starts_with('[') || host.chars().all(is_name));
    let is_port = !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
    (is_host && is_port).then_some(Target { host: host.to_owned(), port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(bytes: &[u8]) -> u16 {
        parse(bytes).unwrap_err().0
    }

    #[test]
    fn a_connect_request_names_host_and_port() {
        let text = b"CONNECT registry.example:443 HTTP/1.1\r\nHost: x\r\n\r\nmore";
        let (target, length) = parse(text).unwrap().unwrap();
        assert_eq!((target.to_string().as_str(), &text[length..]), ("registry.example:443", &b"more"[..]));
        let (six, _) = parse(b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n\r\n").unwrap().unwrap();
        assert_eq!((six.host.as_str(), six.to_string().as_str()), ("2001:db8::1", "[2001:db8::1]:443"));
    }

    #[test]
    fn a_head_that_has_not_ended_is_waited_for_up_to_its_limit() {
        assert_eq!(parse(b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n"), Ok(None));
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(code(&[b'a'; MAX_HEAD]), 431);
    }

    #[test]
    fn other_methods_are_not_allowed() {
        for method in ["GET http://a/", "POST /", "OPTIONS *", "connect a:443"] {
            assert_eq!(code(format!("{method} HTTP/1.1\r\n\r\n").as_bytes()), 405, "{method}");
        }
    }

    #[test]
    fn malformed_requests_are_refused() {
        for line in [
            "",
            "CONNECT",
            "CONNECT a:443",
            "CONNECT a:443 HTTP/2.0",
            "CONNECT a:443 HTTP/1.1 x",
            "\u{16}\u{3}\u{1}",
        ] {
            assert_eq!(code(format!("{line}\r\n\r\n").as_bytes()), 400, "{line:?}");
        }
        assert_eq!(code(b"CONNECT \xff:443 HTTP/1.1\r\n\r\n"), 400);
        for target in [
            "a", "a:", ":443", "a:https", "a:70000", "a:+443", "[::1:443", "[a]:443", "::1:443", "u@a:443",
            "a/b:443",
        ] {
            assert_eq!(code(format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes()), 400, "{target}");
        }
    }

    #[test]
    fn an_answer_is_one_line_whatever_the_reason_holds() {
        let answer = Refusal(502, "no\r\nSet-Cookie: x".into()).answer();
        assert!(answer.starts_with("HTTP/1.1 502 noSet-Cookie: x\r\nContent-Length: 0\r\n"), "{answer}");
        assert!(Refusal(405, "no".into()).answer().contains("\r\nAllow: CONNECT\r\n"));
    }
}
