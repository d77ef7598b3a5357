//! What is read is what was written: a file that is damaged, cut, emptied, old or new is brought forward or
//! refused in a sentence, and never served with wrong bytes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use store::local::{LocalStore, OpenError, Retention};
use store::{Expect, ListOptions, Store};

use crate::{KEEP_ALL, Numbers, delete, open, put};

/// What a store held when its clients had their answers: key, revision and value.
type Content = BTreeMap<String, (u64, Vec<u8>)>;

async fn content(store: &LocalStore) -> Content {
    let page = store.list("/", ListOptions::default()).await.unwrap();
    page.records.iter().map(|r| (r.key.to_string(), (r.revision, r.value.to_vec()))).collect()
}

/// The file and its witness under another name, as a copy or a kill leaves them.
fn copy(file: &Path, to: &Path) {
    for extension in ["redb", "acknowledged"] {
        fs::copy(file.with_extension(extension), to.with_extension(extension)).unwrap();
    }
}

/// A store with some history, as it lies on the disk after a kill (`killed`) or an orderly end.
async fn written(folder: &Path, killed: bool) -> (PathBuf, Content) {
    let file = folder.join("store.redb");
    let store = LocalStore::open(&file, Retention { revisions: 20, slack: 5, ..KEEP_ALL }).unwrap();
    for n in 0..60_u64 {
        let created =
            put(&store, &format!("/{}", n % 45), &"x".repeat(n as usize * 20), Expect::Absent).await;
        if n % 4 == 0
            && let Ok(created) = created
        {
            delete(&store, &created.record.key, created.record.revision).await.unwrap();
        }
    }
    let content = content(&store).await;
    let image = folder.join("image.redb");
    if killed {
        copy(&file, &image);
        drop(store);
    } else {
        drop(store);
        copy(&file, &image);
    }
    (image, content)
}

/// Opens a damaged copy: it is refused as damaged, or holds exactly what was acknowledged.
async fn refused_or_true(
    image: &Path,
    damage: impl FnOnce(&mut Vec<u8>),
    content_before: &Content,
    what: &str,
) -> bool {
    let file = image.with_file_name("damaged.redb");
    let mut bytes = fs::read(image).unwrap();
    damage(&mut bytes);
    copy(image, &file);
    fs::write(&file, &bytes).unwrap();
    let refused = match LocalStore::open(&file, KEEP_ALL) {
        Ok(store) => {
            assert_eq!(&content(&store).await, content_before, "{what}: wrong bytes were served");
            false
        }
        Err(error) => {
            let expected = matches!(
                error,
                OpenError::Damaged { .. } | OpenError::WritesAreMissing { .. } | OpenError::Format { .. }
            );
            assert!(expected, "{what}: {error}");
            true
        }
    };
    for extension in ["redb", "acknowledged", "reserve"] {
        drop(fs::remove_file(file.with_extension(extension)));
    }
    refused
}

#[tokio::test]
async fn a_flipped_bit_is_refused_or_harmless() {
    for killed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (image, content) = written(folder.path(), killed).await;
        let length = fs::metadata(&image).unwrap().len();
        let mut numbers = Numbers(7);
        let header = (0..512).map(|byte| byte * 8 + 3);
        let anywhere: Vec<u64> = (0..500).map(|_| numbers.below(length * 8)).collect();
        let mut refused = 0;
        for bit in header.chain(anywhere) {
            let flip = |bytes: &mut Vec<u8>| bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
            let what = format!("bit {bit}, killed {killed}");
            refused += u32::from(refused_or_true(&image, flip, &content, &what).await);
        }
        assert!(refused > 20, "only {refused} of the flips hit something that counts");
    }
}

#[tokio::test]
async fn a_page_of_zeros_is_refused_or_harmless() {
    for killed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (image, content) = written(folder.path(), killed).await;
        let pages = fs::metadata(&image).unwrap().len() as usize / 4096;
        let mut refused = 0;
        for page in 0..pages {
            let zero = |bytes: &mut Vec<u8>| bytes[page * 4096..(page + 1) * 4096].fill(0);
            let what = format!("page {page}, killed {killed}");
            refused += u32::from(refused_or_true(&image, zero, &content, &what).await);
        }
        assert!(refused > 2, "only {refused} of {pages} pages hold something that counts");
    }
}

#[tokio::test]
async fn a_file_cut_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (image, content) = written(folder.path(), false).await;
    let length = fs::metadata(&image).unwrap().len() as usize;
    for cut in (0..length - 4096).step_by(4096 * 3 + 511) {
        let refused =
            refused_or_true(&image, |bytes| bytes.truncate(cut), &content, &format!("cut at {cut}")).await;
        assert!(refused, "cut at {cut}");
    }
}

#[tokio::test]
async fn an_emptied_or_lost_file_is_no_empty_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let (image, _) = written(folder.path(), false).await;
    fs::write(&image, "").unwrap();
    let error = LocalStore::open(&image, KEEP_ALL).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("Put back a copy"), "{error}");
    fs::remove_file(&image).unwrap();
    let error = LocalStore::open(&image, KEEP_ALL).unwrap_err();
    assert!(matches!(error, OpenError::WritesAreMissing { found: 0, .. }), "{error}");
    fs::remove_file(image.with_extension("acknowledged")).unwrap();
    assert_eq!(open(&image).revision(), 0, "who removes both wants an empty cluster");
}

#[tokio::test]
async fn an_old_copy_is_refused_until_the_loss_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.redb");
    let store = open(&file);
    put(&store, "/a", "one", Expect::Absent).await.unwrap();
    drop(store);
    let old = fs::read(&file).unwrap();
    let store = open(&file);
    put(&store, "/b", "two", Expect::Absent).await.unwrap();
    drop(store);
    fs::write(&file, old).unwrap();
    let error = LocalStore::open(&file, KEEP_ALL).unwrap_err();
    assert!(matches!(error, OpenError::WritesAreMissing { found: 1, acknowledged: 2, .. }), "{error}");
    fs::remove_file(file.with_extension("acknowledged")).unwrap();
    assert_eq!(open(&file).revision(), 1);
}

/// Written by the program of 2026-11, when the format was 1: 34 revisions, compacted up to 24.
const FORMAT_1: &[u8] = include_bytes!("formats/format-1.redb");

#[tokio::test]
async fn a_store_of_format_1_is_brought_forward() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.redb");
    fs::write(&file, FORMAT_1).unwrap();
    for _ in 0..2 {
        let store = open(&file);
        assert_eq!(store.revision(), 34);
        let expected =
            [("/a".to_owned(), (32, b"29@32".to_vec())), ("/kept".to_owned(), (1, b"old@1".to_vec()))];
        assert_eq!(content(&store).await, BTreeMap::from(expected));
        let batch = store.watch("/gone", 30).unwrap().next().await.unwrap();
        let seen: Vec<_> = batch.iter().map(|e| (e.record.revision, e.deleted)).collect();
        assert_eq!(seen, [(33, false), (34, true)], "the history comes along");
    }
    let store = open(&file);
    assert_eq!(put(&store, "/new", "x", Expect::Absent).await.unwrap().record.revision, 35);
}

#[tokio::test]
async fn a_store_of_a_newer_format_is_refused_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.redb");
    drop(open(&file));
    let database = redb::Database::open(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    transaction.open_table(meta).unwrap().insert("format", 3).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = LocalStore::open(&file, KEEP_ALL).unwrap_err();
    assert!(matches!(error, OpenError::Format { found: 3, .. }), "{error}");
    assert!(error.to_string().ends_with("start the version that wrote it"), "{error}");
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.redb");
    fs::write(&file, vec![b'x'; 8192]).unwrap();
    let error = LocalStore::open(&file, KEEP_ALL).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert_eq!(fs::read(&file).unwrap(), vec![b'x'; 8192]);
}

#[test]
fn a_store_in_use_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.redb");
    let first = open(&file);
    let error = LocalStore::open(&file, KEEP_ALL).unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    drop(first);
    open(&file);
}

#[test]
fn only_the_owner_reads_what_lies_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.redb");
    let modes = || {
        let files = fs::read_dir(folder.path()).unwrap().flatten();
        files.map(|f| (f.file_name(), f.metadata().unwrap().permissions().mode() & 0o777)).collect::<Vec<_>>()
    };
    drop(open(&file));
    assert_eq!(modes().len(), 3, "{:?}", modes());
    assert!(modes().iter().all(|(_, mode)| *mode == 0o600), "{:?}", modes());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&file));
    assert!(modes().iter().all(|(_, mode)| *mode == 0o600), "a store of before is closed to others too");
}
