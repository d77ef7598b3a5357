//! As much of an API server as three watches need, on loopback.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};

/// Objects and the history of their changes.
#[derive(Default)]
struct State {
    /// (plural, object) as they are now.
    objects: Vec<(&'static str, Value)>,
    /// (plural, watch event) in the order they happened; the index is the resource version.
    history: Vec<(&'static str, Value)>,
    /// Grows when all watches are cut.
    cuts: usize,
}

/// A server for the rest of the process.
#[derive(Clone)]
pub(crate) struct Api {
    state: Arc<(Mutex<State>, Condvar)>,
    pub(crate) address: SocketAddr,
}

impl Api {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = Self { state: Arc::default(), address: listener.local_addr().unwrap() };
        let server = api.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.answer(stream));
            }
        });
        api
    }

    /// Makes or changes an object.
    pub(crate) fn put(&self, mut object: Value) {
        let plural = match object["kind"].as_str() {
            Some("Service") => "services",
            Some("Node") => "nodes",
            _ => "endpointslices",
        };
        let (state, changed) = &*self.state;
        let mut state = state.lock().unwrap();
        object["metadata"]["resourceVersion"] = json!((state.history.len() + 1).to_string());
        let same = |(other, held): &(&str, Value)| {
            *other == plural && held["metadata"]["name"] == object["metadata"]["name"]
        };
        let known = state.objects.iter().position(same);
        let kind = if known.is_some() { "MODIFIED" } else { "ADDED" };
        known.map(|index| state.objects.remove(index));
        state.objects.push((plural, object.clone()));
        state.history.push((plural, json!({"type": kind, "object": object})));
        changed.notify_all();
    }

    /// Ends all watches in the middle.
    pub(crate) fn cut_watches(&self) {
        let (state, changed) = &*self.state;
        state.lock().unwrap().cuts += 1;
        changed.notify_all();
    }

    fn answer(&self, stream: TcpStream) -> io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().unwrap_or(Ok(String::new()))?;
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        let target = request.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let plural = path.rsplit('/').next().unwrap_or_default();
        let parameter =
            |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        match parameter("watch") {
            Some("true") => self.watch(stream, plural, parameter("resourceVersion")),
            _ => self.list(stream, plural),
        }
    }

    fn list(&self, mut stream: TcpStream, plural: &str) -> io::Result<()> {
        let state = self.state.0.lock().unwrap();
        let items: Vec<_> =
            state.objects.iter().filter(|(other, _)| *other == plural).map(|(_, object)| object).collect();
        let version = state.history.len().to_string();
        let body =
            json!({"kind": "List", "metadata": {"resourceVersion": version}, "items": items}).to_string();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
        write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len())
    }

    fn watch(&self, mut stream: TcpStream, plural: &str, version: Option<&str>) -> io::Result<()> {
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n")?;
        let mut next: usize = version.and_then(|version| version.parse().ok()).unwrap_or(0);
        let (state, changed) = &*self.state;
        let mut state = state.lock().unwrap();
        let cuts = state.cuts;
        while state.cuts == cuts {
            for (_, event) in state.history[next..].iter().filter(|(other, _)| *other == plural) {
                writeln!(stream, "{event}")?;
            }
            next = state.history.len();
            state = changed.wait(state).unwrap();
        }
        Ok(())
    }
}
