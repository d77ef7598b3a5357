//! How rules name a Service port in their comments.

use service::{PortView, ServiceName};

/// What a Service port is called in comments: `namespace/name:port`, without the colon if the port has no name.
pub fn port_name(service: &ServiceName, port: &str) -> String {
    match port {
        "" => service.to_string(),
        port => format!("{service}:{port}"),
    }
}

/// Whether a port's name can stand in a comment: no API server lets others in, but a file of objects may have
/// them, and one would spoil the rules of all.
pub(crate) fn is_writable(view: &PortView<'_>) -> bool {
    /// Three DNS labels and what separates them.
    const LONGEST: usize = 3 * 63 + 2;
    let name = port_name(&view.service.name(), &view.port.name);
    name.len() <= LONGEST
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'/' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_without_a_name_adds_nothing_to_that_of_its_service() {
        let service = ServiceName::new("ns", "svc");
        assert_eq!(port_name(&service, ""), "ns/svc");
        assert_eq!(port_name(&service, "p80"), "ns/svc:p80");
    }
}
