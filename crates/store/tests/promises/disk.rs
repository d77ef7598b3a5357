//! A disk that fills up refuses what needs room, takes what makes room, and loses nothing.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use store::local::{LocalStore, Retention};
use store::{CommitError, Expect, ListOptions, Store, Trouble};

use crate::{KEEP_ALL, delete, open, put};

/// A small file system of its own, gone with the value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(bytes: u64) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("passed over: a full disk needs root to be made");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(format!("size={bytes}")).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", folder.path(), "tmpfs", flags, options.as_c_str()).unwrap();
        Some(Self(folder))
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store.redb")
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut ballast = std::fs::OpenOptions::new().append(true).create(true).open(self.ballast()).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

/// Creates objects until there is no room for another, and returns their keys and revisions.
async fn create_until_full(store: &LocalStore, bytes: usize) -> Vec<(String, u64)> {
    let mut created = Vec::new();
    loop {
        let key = format!("/{}", created.len());
        match put(store, &key, &"x".repeat(bytes), Expect::Absent).await {
            Ok(commit) => created.push((key, commit.record.revision)),
            Err(CommitError::Unavailable(Trouble::DiskFull)) => return created,
            Err(error) => panic!("{error}"),
        }
        assert!(created.len() < 5000, "the disk does not fill up");
    }
}

async fn is_writable_again(store: &LocalStore) {
    let begin = Instant::now();
    while store.health().is_err() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", store.health());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn assert_holds(store: &LocalStore, expected: &[(String, u64)]) {
    let page = store.list("/", ListOptions::default()).await.unwrap();
    let mut found: Vec<_> = page.records.iter().map(|r| (r.key.to_string(), r.revision)).collect();
    let mut expected = expected.to_vec();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

fn reopen(file: &Path, store: LocalStore) -> LocalStore {
    drop(store);
    open(file)
}

#[tokio::test]
async fn a_full_disk_refuses_creations_takes_deletes_and_says_so() {
    let Some(disk) = SmallDisk::mount(8 << 20) else { return };
    let store = open(&disk.store());
    store.health().expect("there is room");
    let mut objects = create_until_full(&store, 20_000).await;
    disk.fill();
    assert_eq!(store.health(), Err(Trouble::DiskFull));
    let (key, revision) = objects[0].clone();
    let changed = put(&store, &key, &"y".repeat(20_000), Expect::Revision(revision)).await;
    objects[0].1 = changed.expect("a change that needs no room is taken").record.revision;
    for (key, revision) in objects.drain(..objects.len() / 2) {
        delete(&store, &key, revision).await.expect("there is a reserve for deletes");
    }
    assert_holds(&store, &objects).await;
    let store = reopen(&disk.store(), store);
    assert_holds(&store, &objects).await;
    for (key, revision) in objects.split_off(3) {
        delete(&store, &key, revision).await.expect("deletes go on after a restart on the full disk");
    }
    disk.empty();
    is_writable_again(&store).await;
    let new = put(&store, "/new", "x", Expect::Absent).await.unwrap();
    objects.push(("/new".to_owned(), new.record.revision));
    let store = reopen(&disk.store(), store);
    assert_holds(&store, &objects).await;
}

#[tokio::test]
async fn what_was_deleted_does_not_rise_again_when_compaction_met_a_full_disk() {
    let Some(disk) = SmallDisk::mount(8 << 20) else { return };
    let retention = Retention { revisions: 10, slack: 5, ..KEEP_ALL };
    let store = LocalStore::open(&disk.store(), retention).unwrap();
    let mut objects = Vec::new();
    for n in 0..50 {
        let created = put(&store, &format!("/{n}"), &"x".repeat(9000), Expect::Absent).await.unwrap();
        objects.push(created.record);
    }
    // Every object is changed, with the disk full and the reserve gone meanwhile: compactions fail.
    for part in objects.chunks_mut(10) {
        disk.fill();
        drop(std::fs::remove_file(disk.store().with_extension("reserve")));
        disk.fill();
        for record in &mut *part {
            drop(put(&store, &record.key, &"y".repeat(9000), Expect::Revision(record.revision)).await);
        }
        disk.empty();
        is_writable_again(&store).await;
        for record in part {
            *record = store.get(&record.key).await.unwrap().expect("nothing was deleted");
        }
    }
    for record in &objects {
        delete(&store, &record.key, record.revision).await.unwrap();
    }
    let mut at = put(&store, "/last", "x", Expect::Absent).await.unwrap().record.revision;
    for n in 0..40 {
        at = put(&store, "/last", &n.to_string(), Expect::Revision(at)).await.unwrap().record.revision;
    }
    let store = reopen(&disk.store(), store);
    assert_holds(&store, &[("/last".to_owned(), at)]).await;
}

#[tokio::test]
async fn a_write_that_was_refused_may_have_happened_but_never_half() {
    let Some(disk) = SmallDisk::mount(6 << 20) else { return };
    let store = open(&disk.store());
    put(&store, "/kept", "before", Expect::Absent).await.unwrap();
    disk.fill();
    let acknowledged = create_until_full(&store, 20_000).await;
    assert_eq!(store.get("/kept").await.unwrap().unwrap().value, "before@1", "reads go on");
    disk.empty();
    is_writable_again(&store).await;
    let after = put(&store, "/after", "room", Expect::Absent).await.expect("there is room again");
    let store = reopen(&disk.store(), store);
    assert_eq!(store.get("/after").await.unwrap().unwrap().revision, after.record.revision);
    for (key, revision) in acknowledged {
        assert_eq!(store.get(&key).await.unwrap().unwrap().revision, revision, "{key}");
    }
}
