//! Rules of `rewrite` that ask another question.

use crate::harness::Server;

const COREFILE: &str = r#".:53 {
    rewrite cname exact b.example c.example
    rewrite cname suffix .circle .circle
    template IN A a.example {
        answer "{{ .Name }} 60 IN CNAME b.example."
    }
    template IN A (.*)\.circle {
        answer "{{ .Name }} 60 IN CNAME next.circle."
    }
    hosts {
        192.0.2.9 c.example
    }
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn coredns_the_new_target_of_an_alias_is_asked_for() {
    let server = Server::following(COREFILE, None).await;
    assert_eq!(server.short("a.example").await, ["192.0.2.9", "c.example."]);
    assert_eq!(server.short("c.example").await, ["192.0.2.9"], "other names are answered as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_in_a_circle_end() {
    let server = Server::following(COREFILE, None).await;
    let said = server.dig("+noall +comments +answer one.circle").await;
    assert!(said.contains("status: "), "there is an answer: {said}");
}
