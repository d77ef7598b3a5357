//! As much of an API server as three watches and the Events of a proxy need, on loopback.

use std::io::{self, BufRead, BufReader, Read, Write};
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
    /// Watches from an older version are refused.
    oldest: usize,
    /// How many were.
    refused: usize,
    /// Events that were posted.
    events: Vec<Value>,
    /// Kinds of which no list is given for now.
    held: Vec<&'static str>,
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

    /// Ends all watches in the middle, and refuses to go on from any version that was known so far.
    pub(crate) fn outdate_watches(&self) {
        let (state, changed) = &*self.state;
        let mut state = state.lock().unwrap();
        state.history.push(("", Value::Null));
        state.oldest = state.history.len();
        state.cuts += 1;
        changed.notify_all();
    }

    /// Gives no list of a kind until [`Api::release`].
    pub(crate) fn hold(&self, plural: &'static str) {
        self.state.0.lock().unwrap().held.push(plural);
    }

    /// Gives lists of all kinds.
    pub(crate) fn release(&self) {
        let (state, changed) = &*self.state;
        state.lock().unwrap().held.clear();
        changed.notify_all();
    }

    /// How many watches were refused.
    pub(crate) fn refused(&self) -> usize {
        self.state.0.lock().unwrap().refused
    }

    /// Events that were posted: the name of the object and the message.
    pub(crate) fn events(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let state = self.state.0.lock().unwrap();
        let events = state.events.iter();
        events.map(|event| (text(&event["involvedObject"]["name"]), text(&event["message"]))).collect()
    }

    fn answer(&self, stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut request, mut length) = (String::new(), 0);
        reader.read_line(&mut request)?;
        for line in reader.by_ref().lines() {
            let line = line?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            length = line.strip_prefix("content-length: ").map_or(length, |length| length.parse().unwrap());
        }
        if request.starts_with("POST") {
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let event = serde_json::from_slice(&body)?;
            self.state.0.lock().unwrap().events.push(event);
            return reply(stream, "201 Created", &body);
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

    fn list(&self, stream: TcpStream, plural: &str) -> io::Result<()> {
        let (state, changed) = &*self.state;
        let held = |state: &mut State| state.held.contains(&plural);
        let state = changed.wait_while(state.lock().unwrap(), held).unwrap();
        let items: Vec<_> =
            state.objects.iter().filter(|(other, _)| *other == plural).map(|(_, object)| object).collect();
        let version = state.history.len().to_string();
        let body = json!({"kind": "List", "metadata": {"resourceVersion": version}, "items": items});
        reply(stream, "200 OK", body.to_string().as_bytes())
    }

    fn watch(&self, mut stream: TcpStream, plural: &str, version: Option<&str>) -> io::Result<()> {
        let mut next: usize = version.and_then(|version| version.parse().ok()).unwrap_or(0);
        let (state, changed) = &*self.state;
        let mut state = state.lock().unwrap();
        if next < state.oldest {
            state.refused += 1;
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired",
                "message": "too old resource version", "code": 410});
            return reply(stream, "410 Gone", status.to_string().as_bytes());
        }
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n")?;
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

fn reply(mut stream: TcpStream, status: &str, body: &[u8]) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n");
    write!(stream, "{head}content-length: {}\r\n\r\n", body.len())?;
    stream.write_all(body)
}
