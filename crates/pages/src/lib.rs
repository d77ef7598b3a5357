//! Small HTTP servers of a part: a path in, an answer out; and the bound on the connections of a listener.

mod connections;

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
use tokio::task::JoinSet;

pub use connections::{Busy, Connection, Connections};

/// How many connections a server has at a time; for one more, the connection that was idle longest is closed.
const CONNECTIONS: usize = 256;
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

/// Answers each request by its path, until dropped; connections end then, too.
pub async fn serve<F, Answer>(listener: TcpListener, answer: F)
where
    F: Fn(String) -> Answer + Send + Sync + 'static,
    Answer: Future<Output = Reply> + Send + 'static,
{
    let answer = Arc::new(answer);
    let (mut connections, mut tasks) = (Connections::new(CONNECTIONS), JoinSet::new());
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // The process has no file left for a connection; one will be closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while tasks.try_join_next().is_some() {}
        let (connection, _) = connections.admit().await;
        let answer = answer.clone();
        tasks.spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let (busy, reply) = (connection.busy(), answer(request.uri().path().to_owned()));
                async move {
                    let reply = reply.await;
                    drop(busy);
                    Ok::<_, Infallible>(response(reply))
                }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            tokio::select! {
                // A client that breaks off harms only itself.
                _ = builder.serve_connection(TokioIo::new(stream), service) => {}
                () = connection.must_close() => {}
            }
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn get(address: std::net::SocketAddr) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }

    #[tokio::test]
    async fn connections_that_say_nothing_keep_no_question_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, |path| async { Reply::text(200, path) }));
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS + 50 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        assert!(get(address).await.unwrap().ends_with("\r\n/healthz"));
        let first = tokio::time::timeout(Duration::from_secs(5), silent[0].read(&mut [0])).await;
        assert_eq!(first.expect("it is closed").unwrap_or(0), 0);
        let last = silent.last_mut().unwrap();
        last.write_all(b"GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        last.read_to_string(&mut text).await.unwrap();
        assert!(text.ends_with("\r\n/last"), "one that came late is there still: {text}");
        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
        assert!(get(address).await.is_err(), "nothing listens any more");
    }
}
