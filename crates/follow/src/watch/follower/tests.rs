//! A follower against an API server that answers from a script.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::Body;
use kube::core::Status;
use serde_json::json;

use super::*;
use crate::objects;

/// A client for a server that gives these answers in turn, and then none; and the requests.
fn server(answers: &[(u16, String)]) -> (Client, Arc<Mutex<Vec<String>>>) {
    let answers = Arc::new(Mutex::new(answers.iter().cloned().collect::<VecDeque<_>>()));
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = requests.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        log.lock().unwrap().push(request.uri().to_string());
        let answer = answers.lock().unwrap().pop_front();
        async move {
            let Some((code, body)) = answer else { return std::future::pending().await };
            let response = Response::builder().status(code).body(Body::from(body.into_bytes()));
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    (Client::new(service, "default"), requests)
}

fn list(version: &str, items: &serde_json::Value) -> (u16, String) {
    let list = json!({"kind": "ConfigMapList", "apiVersion": "v1",
        "metadata": {"resourceVersion": version}, "items": items});
    (200, list.to_string())
}

fn status(code: u16) -> (u16, String) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": "Expired", "message": "too old resource version"});
    (code, status.to_string())
}

/// The first steps, up to `count`.
async fn steps(client: Client, selection: Selection, count: usize) -> Vec<String> {
    let events = objects::<ConfigMap>(client, selection).take(count);
    let shown = events.map(|event| match event {
        Event::Relist => "list".to_owned(),
        Event::Apply(map) => format!("+{}", map.metadata.name.unwrap()),
        Event::Delete(map) => format!("-{}", map.metadata.name.unwrap()),
        Event::Synced => "done".to_owned(),
    });
    shown.collect().await
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_does_not_hide_the_others() {
    let items = json!([{"metadata": {"name": "bad"}, "data": [1]}, {"metadata": {"name": "good"}}]);
    let (client, _) = server(&[list("7", &items), list("7", &items)]);
    assert_eq!(steps(client, Selection::all(), 4).await, ["list", "list", "+good", "done"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_version_is_gone_lists_again_however_the_server_says_so() {
    let event = (
        200,
        format!(
            "{}\n",
            json!({"type": "ERROR", "object": serde_json::from_str::<serde_json::Value>(&status(410).1).unwrap()})
        ),
    );
    for gone in [status(410), event] {
        let one = json!([{"metadata": {"name": "a"}}]);
        let (client, requests) = server(&[list("7", &one), gone, list("9", &json!([]))]);
        assert_eq!(steps(client, Selection::all(), 5).await, ["list", "+a", "done", "list", "done"]);
        let requests = requests.lock().unwrap();
        let watches: Vec<_> = requests.iter().map(|request| request.contains("watch=true")).collect();
        assert_eq!(watches, [false, true, false], "{requests:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_is_asked_again_until_it_answers() {
    let mut answers = vec![status(500); 20];
    answers.push(list("7", &json!([{"metadata": {"name": "a"}}])));
    let (client, requests) = server(&answers);
    let begun = tokio::time::Instant::now();
    let steps = steps(client, Selection::named("a").namespace("web"), 22).await;
    assert_eq!(steps.last().map(String::as_str), Some("+a"));
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    let first = requests.lock().unwrap()[0].clone();
    assert!(first.starts_with("/api/v1/namespaces/web/configmaps?"), "{first}");
    assert!(first.contains("fieldSelector=metadata.name%3Da"), "{first}");
}

#[test]
fn an_error_is_what_the_server_says_once() {
    let said = |code, message: &str| {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        explain(&Error::InitialListFailed(kube::Error::Api(status.into())))
    };
    assert_eq!(said(500, "etcd is away"), "etcd is away");
    assert_eq!(
        said(FORBIDDEN, "pods is forbidden: User \"a\" cannot list resource \"pods\""),
        "pods is forbidden: User \"a\" cannot list resource \"pods\"; the account needs the verbs list and watch"
    );
}
