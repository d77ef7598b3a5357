//! Clients that create, change and delete ConfigMaps, and note what was acknowledged.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::sync::RwLock;
use tokio::time::sleep;

use super::api::Api;
use super::ledger::{Ledger, State};
use super::probes::Timeline;

/// Where the ConfigMaps are.
pub(crate) const MAPS: &str = "/api/v1/namespaces/ledger/configmaps";
/// The names of all that is written begin so.
pub(crate) const PREFIX: &str = "w-";
/// How many write at a time, and how many objects each has.
const WRITERS: usize = 3;
const OBJECTS: usize = 12;
/// Between two writes of one writer.
const PAUSE: Duration = Duration::from_millis(25);
/// After a write without an answer.
const AFTER_FAILURE: Duration = Duration::from_millis(300);
/// The largest values: so many bytes, one in so many.
const LARGE: (usize, usize) = (60_000, 40);

/// What all clients of the API share.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    ledger: Arc<Mutex<Ledger>>,
    /// Who writes holds it to read; who wants that nobody writes holds it to write.
    pub(crate) gate: Arc<RwLock<()>>,
    /// The requests of the writers.
    pub(crate) requests: Timeline,
    pub(crate) stop: Arc<AtomicBool>,
    values: Arc<AtomicU64>,
}

impl Shared {
    /// What was written.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the clients shall end.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// One object of a writer.
#[derive(Default)]
struct Slot {
    /// Counts the names of the slot: one whose state is not known is left alone.
    generation: usize,
    /// The version that the last answer named, if the object is there.
    version: Option<String>,
}

/// What an answer says of a write.
enum Outcome {
    /// It happened; the version of the object, if there is one now.
    Done(Option<String>),
    /// It did not happen.
    Refused(String),
    /// It may have happened.
    Unknown(String),
    /// This cannot be, as nobody else writes the object.
    Wrong(String),
}

/// Starts the writers.
pub(crate) fn start(api: &Api, shared: &Shared, random: &mut Rng) {
    for writer in 0..WRITERS {
        tokio::spawn(write(api.clone(), shared.clone(), random.fork(), writer));
    }
}

async fn write(api: Api, shared: Shared, mut random: Rng, writer: usize) {
    let mut slots: Vec<Slot> = (0..OBJECTS).map(|_| Slot::default()).collect();
    while !shared.is_over() {
        let turn = shared.gate.read().await;
        let number = random.usize(..OBJECTS);
        let slot = &mut slots[number];
        let name = format!("{PREFIX}{writer}-{number}-{}", slot.generation);
        let (begin, mut pause) = (Instant::now(), PAUSE);
        let outcome = one(&api, &shared, &mut random, &name, slot.version.as_deref()).await;
        let left = Slot { generation: slot.generation + 1, version: None };
        let failed = match outcome {
            Outcome::Done(version) => {
                shared.ledger().acknowledge(&name);
                slot.version = version;
                None
            }
            Outcome::Refused(why) => {
                shared.ledger().refuse(&name, &why);
                Some(why)
            }
            Outcome::Unknown(why) => {
                *slot = left;
                pause = AFTER_FAILURE;
                Some(why)
            }
            Outcome::Wrong(why) => {
                shared.ledger().violations.push(format!("{name}: {why}"));
                *slot = left;
                Some(why)
            }
        };
        shared.requests.note(begin, failed);
        drop(turn);
        sleep(pause).await;
    }
}

/// Creates an object that is not there; changes or deletes one that is there in this version.
async fn one(api: &Api, shared: &Shared, random: &mut Rng, name: &str, version: Option<&str>) -> Outcome {
    let path = format!("{MAPS}/{name}");
    let is_deletion = version.is_some() && random.usize(..3) == 0;
    let value = shared.values.fetch_add(1, Ordering::Relaxed);
    let state: State = (!is_deletion).then_some(value);
    let body = if is_deletion {
        json!({"preconditions": {"resourceVersion": version}})
    } else {
        let length = if random.usize(..LARGE.1) == 0 { LARGE.0 } else { random.usize(..200) };
        let data = json!({"n": value.to_string(), "filling": "x".repeat(length)});
        json!({"metadata": {"name": name, "resourceVersion": version}, "data": data})
    };
    shared.ledger().begin(name, state);
    let answer = match version {
        None => api.call("POST", MAPS, Some(&body)).await,
        Some(_) if is_deletion => api.call("DELETE", &path, Some(&body)).await,
        Some(_) => api.call("PUT", &path, Some(&body)).await,
    };
    match answer {
        Ok(answer) if answer.is_good() => Outcome::Done(state.and_then(|_| version_of(&answer.body))),
        Ok(answer) => {
            let said = format!("{} {}", answer.code, answer.message());
            match answer.code {
                404 | 409 | 410 => {
                    Outcome::Wrong(format!("a write to version {version:?} is answered with {said}"))
                }
                400..500 => Outcome::Refused(said),
                _ if answer.message().contains("the disk is full") => Outcome::Refused(said),
                _ => Outcome::Unknown(said),
            }
        }
        Err(error) => Outcome::Unknown(format!("{error:#}")),
    }
}

fn version_of(object: &Value) -> Option<String> {
    object["metadata"]["resourceVersion"].as_str().map(str::to_owned)
}

/// The name and the value of an object, if a writer has made it.
pub(crate) fn value_of(object: &Value) -> Option<(String, u64)> {
    let name = object["metadata"]["name"].as_str().filter(|name| name.starts_with(PREFIX))?;
    Some((name.to_owned(), object["data"]["n"].as_str()?.parse().ok()?))
}
