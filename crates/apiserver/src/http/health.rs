//! `/healthz`, `/livez` and `/readyz`, in upstream's form. Anyone may ask.

use http::{Response, StatusCode};
use store::Trouble;

use super::respond::{self, Body};
use crate::Shared;

/// One thing that is checked, and what is wrong with it.
type Check = (&'static str, Option<&'static str>);

/// The answer to a health check; none if `path` is something else. `?verbose` lists what was checked.
pub(super) fn answer(shared: &Shared, path: &str, query: &str) -> Option<Response<Body>> {
    let checks = match path {
        // What has to be waited for is no reason to restart the server.
        "/healthz" | "/livez" => vec![("ping", None), ("store", None)],
        "/readyz" => vec![
            ("ping", None),
            ("store", shared.registry.store.health().err().map(|trouble| reason(&trouble))),
            ("objects", (!shared.is_ready()).then_some("the cluster's first objects are being made")),
        ],
        _ => return None,
    };
    let verbose = query.split('&').any(|word| word.starts_with("verbose"));
    Some(print(&path[1..], &checks, verbose))
}

fn print(name: &str, checks: &[Check], verbose: bool) -> Response<Body> {
    let passed = checks.iter().all(|(_, wrong)| wrong.is_none());
    if passed && !verbose {
        return respond::text(StatusCode::OK, "ok");
    }
    let line = |(check, wrong): &Check| match wrong {
        None => format!("[+]{check} ok\n"),
        Some(reason) => format!("[-]{check} failed: {reason}\n"),
    };
    let mut text: String = checks.iter().map(line).collect();
    text += &format!("{name} check {}\n", if passed { "passed" } else { "failed" });
    respond::text(if passed { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }, text)
}

/// What strangers may be told; the log says the rest.
fn reason(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::DiskFull => "the disk is full; objects can be deleted, but not created",
        Trouble::File(_) => "its file cannot be written; the server's log says why",
        Trouble::Stopped => "it has stopped",
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_check_that_fails_is_named_with_its_reason() {
        let response = print("readyz", &[("ping", None), ("store", Some(reason(&Trouble::DiskFull)))], false);
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let text = response.into_body().collect().await.ok().unwrap().to_bytes();
        assert_eq!(
            text,
            "[+]ping ok\n[-]store failed: the disk is full; objects can be deleted, but not created\nreadyz check failed\n"
        );
    }

    #[test]
    fn a_file_that_cannot_be_written_tells_strangers_no_path() {
        assert!(!reason(&Trouble::File("/var/lib/portolan/store.redb".to_owned())).contains('/'));
    }
}
