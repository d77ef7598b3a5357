//! The promises of the store, seen from outside: every acknowledged write survives, a watch misses
//! nothing, and a file that cannot be used says why.

mod damage;
mod disk;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use store::local::{LocalStore, Retention};
use store::{Change, Commit, CommitError, Draft, Expect, ListOptions, ReadError, Store, Write};

const KEEP_ALL: Retention = Retention { revisions: u64::MAX / 2, slack: 0, bytes: usize::MAX / 2 };
/// Set for the child process that writes until it is killed.
const WRITER: &str = "STORE_TEST_WRITER_FILE";

fn open(file: &Path) -> LocalStore {
    LocalStore::open(file, KEEP_ALL).unwrap()
}

fn draft(text: &str) -> Draft {
    Draft::with_hole(format!("{text}@").into_bytes(), &b""[..])
}

async fn put(store: &LocalStore, key: &str, text: &str, expect: Expect) -> Result<Commit, CommitError> {
    store.commit(Write { key: key.into(), change: Change::Put(draft(text)), expect }).await
}

async fn delete(store: &LocalStore, key: &str, at: u64) -> Result<Commit, CommitError> {
    let write =
        Write { key: key.into(), change: Change::Delete(draft("gone")), expect: Expect::Revision(at) };
    store.commit(write).await
}

/// A small generator of numbers, so that a failing run can be repeated by its seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[tokio::test]
async fn a_write_happens_only_in_the_expected_state() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store"));
    let first = put(&store, "/a", "one", Expect::Absent).await.unwrap();
    assert_eq!(first.record.value, "one@1");
    let CommitError::Mismatch { current: Some(current) } =
        put(&store, "/a", "two", Expect::Absent).await.unwrap_err()
    else {
        panic!("a second creation must be refused");
    };
    assert_eq!(current.revision, 1);
    let second = put(&store, "/a", "two", Expect::Revision(1)).await.unwrap();
    assert_eq!(second.previous.unwrap().value, "one@1");
    assert!(put(&store, "/a", "three", Expect::Revision(1)).await.is_err());
    let gone = delete(&store, "/a", 2).await.unwrap();
    assert_eq!(gone.record.value, "gone@3");
    assert_eq!(store.get("/a").await.unwrap(), None);
    assert!(delete(&store, "/a", 3).await.is_err());
}

#[tokio::test]
async fn a_watch_continues_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store");
    let store = open(&file);
    put(&store, "/a/1", "one", Expect::Absent).await.unwrap();
    put(&store, "/b/1", "other", Expect::Absent).await.unwrap();
    put(&store, "/a/1", "two", Expect::Revision(1)).await.unwrap();
    delete(&store, "/a/1", 3).await.unwrap();
    drop(store);
    let store = open(&file);
    let mut watcher = store.watch("/a/", 1).unwrap();
    let batch = watcher.next().await.unwrap();
    let seen: Vec<_> = batch.iter().map(|e| (e.record.revision, e.deleted, e.previous.is_some())).collect();
    assert_eq!(seen, [(3, false, true), (4, true, true)]);
    assert_eq!(watcher.progress(), 4);
    put(&store, "/a/2", "new", Expect::Absent).await.unwrap();
    assert_eq!(watcher.next().await.unwrap()[0].record.value, "new@5");
}

#[tokio::test]
async fn a_watch_from_before_the_compacted_history_is_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store");
    let retention = Retention { revisions: 10, slack: 5, ..KEEP_ALL };
    let store = LocalStore::open(&file, retention).unwrap();
    put(&store, "/kept", "old", Expect::Absent).await.unwrap();
    let mut at = put(&store, "/a", "0", Expect::Absent).await.unwrap().record.revision;
    for n in 0..100 {
        at = put(&store, "/a", &n.to_string(), Expect::Revision(at)).await.unwrap().record.revision;
    }
    assert!(matches!(store.watch("/", 3), Err(ReadError::TooOld { requested: 3, .. })));
    assert!(store.watch("/", at - 5).is_ok());
    assert!(matches!(store.watch("/", at + 1), Err(ReadError::TooNew { .. })));
    drop(store);
    let store = LocalStore::open(&file, retention).unwrap();
    assert_eq!(store.revision(), at);
    assert_eq!(store.get("/kept").await.unwrap().unwrap().revision, 1);
    assert!(matches!(store.watch("/", 3), Err(ReadError::TooOld { .. })));
}

#[tokio::test]
async fn any_sequence_of_writes_and_restarts_equals_a_map() {
    for seed in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store");
        let retention = Retention { revisions: 40, slack: 10, ..KEEP_ALL };
        let mut store = LocalStore::open(&file, retention).unwrap();
        let mut model: BTreeMap<String, (u64, String)> = BTreeMap::new();
        let mut states = vec![model.clone()];
        let mut numbers = Numbers(seed);
        for step in 0..400 {
            let key = format!("/k/{}", numbers.below(12));
            let known = model.get(&key).map_or(0, |(revision, _)| *revision);
            let expect = match numbers.below(4) {
                0 => Expect::Absent,
                1 => Expect::Revision(numbers.below(states.len() as u64 + 1)),
                _ if known == 0 => Expect::Absent,
                _ => Expect::Revision(known),
            };
            let fits = match expect {
                Expect::Absent => known == 0,
                Expect::Revision(revision) => known != 0 && revision == known,
            };
            let remove = known != 0 && expect != Expect::Absent && numbers.below(3) == 0;
            let result = match expect {
                Expect::Revision(at) if remove => delete(&store, &key, at).await,
                _ => put(&store, &key, &step.to_string(), expect).await,
            };
            assert_eq!(result.is_ok(), fits, "seed {seed} step {step}");
            if let Ok(commit) = result {
                assert_eq!(commit.record.revision, states.len() as u64);
                if remove {
                    model.remove(&key);
                } else {
                    let value = format!("{step}@{}", commit.record.revision);
                    model.insert(key, (commit.record.revision, value));
                }
                states.push(model.clone());
            }
            if numbers.below(60) == 0 {
                drop(store);
                store = LocalStore::open(&file, retention).unwrap();
            }
            let at = states.len() as u64 - 1 - numbers.below(30).min(states.len() as u64 - 1);
            let page = store.list("/k/", ListOptions { at: Some(at), ..Default::default() }).await.unwrap();
            let listed: BTreeMap<_, _> = page
                .records
                .iter()
                .map(|r| (r.key.to_string(), (r.revision, String::from_utf8_lossy(&r.value).into_owned())))
                .collect();
            assert_eq!(listed, states[at as usize], "seed {seed} step {step} revision {at}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_share_transactions_and_each_gets_its_own_revision() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder.path().join("store")));
    let mut watcher = store.watch("/", 0).unwrap();
    let writers: Vec<_> = (0..64)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..20 {
                    put(&store, &format!("/{writer}/{n}"), "x", Expect::Absent).await.unwrap();
                }
            })
        })
        .collect();
    let mut next = 1;
    while next <= 64 * 20 {
        for event in watcher.next().await.unwrap() {
            assert_eq!(event.record.revision, next);
            next += 1;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Not a test of its own: the process that the next test kills. Without its variable it does nothing.
#[test]
fn writer_process() {
    let Some(file) = std::env::var_os(WRITER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(
            LocalStore::open(Path::new(&file), Retention { revisions: 50, slack: 50, ..KEEP_ALL }).unwrap(),
        );
        let start = store.revision();
        let writers = (0..8).map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..100_000 {
                    let key = format!("/{writer}/{start}/{}", n % 40);
                    let expect = match store.get(&key).await.unwrap() {
                        Some(record) => Expect::Revision(record.revision),
                        None => Expect::Absent,
                    };
                    let commit = put(&store, &key, "x", expect).await.unwrap();
                    let line = format!("ack {key} {}\n", commit.record.revision);
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
}

#[tokio::test]
async fn a_kill_loses_no_acknowledged_write() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store");
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..12_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer_process", "--nocapture"])
            .env(WRITER, &file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).collect::<Vec<_>>()
        });
        std::thread::sleep(Duration::from_millis(150 + round * 17));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut count = 0;
        for line in reader.join().unwrap() {
            let words: Vec<_> = line.split_whitespace().collect();
            if let ["ack", key, revision] = words[..]
                && let Ok(revision) = revision.parse::<u64>()
            {
                let newest = acknowledged.entry(key.to_owned()).or_default();
                *newest = revision.max(*newest);
                count += 1;
            }
        }
        assert!(count > 0, "the writer was killed before it had written anything");
        let store = open(&file);
        for (key, revision) in &acknowledged {
            let record = store.get(key).await.unwrap();
            let found = record.as_ref().map_or(0, |record| record.revision);
            assert!(found >= *revision, "round {round}: {key} was acknowledged at {revision}, found {found}");
        }
    }
}
