//! Small HTTP servers of a part: a path in, an answer out.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// How long a client may take to send its headers.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub code: u16,
    /// Header fields besides the usual ones.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// Plain text.
    pub fn text(code: u16, body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type", "text/plain; charset=utf-8".to_owned())];
        Self { code, headers, body: body.into() }
    }

    /// JSON that browsers must not take for anything else.
    pub fn json(code: u16, body: impl Into<Bytes>) -> Self {
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        Self { code, headers, body: body.into() }
    }
}

/// Answers each request by its path, until dropped.
pub async fn serve<F, Answer>(listener: TcpListener, answer: F)
where
    F: Fn(String) -> Answer + Send + Sync + 'static,
    Answer: Future<Output = Reply> + Send + 'static,
{
    let answer = Arc::new(answer);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // The process has no file left for a connection; one will be closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let reply = answer(request.uri().path().to_owned());
                async move { Ok::<_, Infallible>(response(reply.await)) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            // A client that breaks off harms only itself.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn response(reply: Reply) -> Response<Full<Bytes>> {
    let mut builder = Response::builder().status(reply.code);
    for (name, value) in &reply.headers {
        builder = builder.header(*name, value);
    }
    builder.body(Full::new(reply.body)).unwrap_or_default()
}
