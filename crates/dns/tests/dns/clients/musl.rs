//! The stub resolver of musl. It asks for both families at once, and takes every response code except NOERROR and
//! NXDOMAIN for a failure of the whole lookup.

use std::process::Command;

use super::{ADDRESSES, server};
use crate::machine::{Machine, has};

/// Prints the addresses of a name, as `getent ahosts` does.
const ADDRESSES_OF: &str = r#"
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>

int main(int count, char **words)
{
    struct addrinfo want = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_CANONNAME}, *all;
    int error = count == 2 ? getaddrinfo(words[1], 0, &want, &all) : EAI_FAIL;
    if (error) {
        puts(gai_strerror(error));
        return 0;
    }
    for (struct addrinfo *one = all; one; one = one->ai_next) {
        char text[INET6_ADDRSTRLEN];
        void *address = one->ai_family == AF_INET
            ? (void *)&((struct sockaddr_in *)one->ai_addr)->sin_addr
            : (void *)&((struct sockaddr_in6 *)one->ai_addr)->sin6_addr;
        puts(inet_ntop(one->ai_family, address, text, sizeof text));
    }
    printf("%s\n", all->ai_canonname);
    return 0;
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn musl_finds_names_by_the_search_path() {
    let Some(machine) = Machine::of("musl").filter(|_| has("musl-gcc")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("ahosts.c"), folder.path().join("ahosts"));
    std::fs::write(&source, ADDRESSES_OF).unwrap();
    let built = Command::new("musl-gcc").args(["-static", "-o"]).args([&program, &source]).status().unwrap();
    assert!(built.success());

    let _server = server(&machine).await;
    let ask = async |name: &str| {
        let told = machine.run(&format!("{} {name}", program.display())).await.unwrap();
        told.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    for (name, address) in ADDRESSES {
        assert_eq!(ask(name).await[0], address, "{name}");
    }
    assert_eq!(ask("alias").await, ["10.96.0.7", "test-service-2.default.svc.cluster.local"]);
    assert_eq!(ask("missing.default.svc.cluster.local").await, ["Name does not resolve"]);
    // musl keeps at most 48 addresses. It asks again over TCP after a truncated reply only since version 1.2.4.
    assert!(ask("crowd").await.len() > 10);
}
