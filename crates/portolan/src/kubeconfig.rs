//! A cluster's entry in a kubeconfig file, beside those of other clusters.
//!
//! A file may hold many clusters, and belongs to the user: only the entries that carry the cluster's name are
//! touched, and only if Portolan made them. It is changed under the lock that kubectl takes, and replaced as a
//! whole by one of the same owner. What is no plain file is neither waited for nor replaced: /dev/null would go.

mod entries;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

pub(crate) use entries::Access;

/// Another program that changes the file is waited for so long.
const LOCK_TIME: Duration = Duration::from_secs(5);
/// How often it is looked whether it has ended.
const LOCK_STEP: Duration = Duration::from_millis(20);

/// Says whether `file` can be read as a kubeconfig; one that is not there can.
///
/// # Errors
/// Why not.
pub(crate) fn check(file: &Path) -> anyhow::Result<()> {
    read(file).map(drop)
}

/// Puts `access` into `file`, which may not be there yet. Entries of before are kept if they still give access,
/// as `is_valid` says of their client certificate, so that a start needs no room on the disk.
///
/// # Errors
/// The file is no kubeconfig, has an entry of that name for another cluster, or cannot be written.
pub(crate) fn merge(file: &Path, access: &Access, is_valid: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let changed = |config: &mut Value| {
        if entries::gives(config, access, &is_valid) {
            return Ok(Change::None);
        }
        entries::merge(config, access).with_context(|| format!("{} is left as it is", file.display()))?;
        Ok(Change::Write)
    };
    change(file, changed)
}

/// Takes the entries of `cluster` out of `file`, if they are those that Portolan made for the authority
/// `ca_pem`. A file in which nothing is left is removed.
///
/// # Errors
/// The file is no kubeconfig or cannot be written.
pub(crate) fn remove(file: &Path, cluster: &str, ca_pem: &str) -> anyhow::Result<()> {
    if !file.exists() {
        return Ok(());
    }
    change(file, |config| {
        let removed = entries::remove(config, cluster, ca_pem);
        Ok(match removed {
            false => Change::None,
            true if entries::is_empty(config) => Change::Remove,
            true => Change::Write,
        })
    })
}

/// What becomes of a file.
enum Change {
    None,
    Write,
    Remove,
}

/// Changes the file as `decide` says. Whether there is anything to change is seen without the lock, and decided
/// again under it.
fn change(file: &Path, decide: impl Fn(&mut Value) -> anyhow::Result<Change>) -> anyhow::Result<()> {
    // A link leads to the file that is meant; replacing the link would leave that one as it was.
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let failed = || format!("the kubeconfig {} cannot be changed", file.display());
    if matches!(decide(&mut read(&target)?)?, Change::None) {
        return Ok(());
    }
    if let Some(folder) = target.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    let _lock = Lock::take(&target)?;
    let mut config = read(&target)?;
    match decide(&mut config)? {
        Change::None => Ok(()),
        Change::Remove => fs::remove_file(&target).with_context(failed),
        Change::Write => {
            let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
            let text = serde_saphyr::to_string_with_options(&config, options).with_context(failed)?;
            replace(&target, &text).with_context(failed)
        }
    }
}

/// Exchanges what the file says, for its owner alone to read. Who had the file has it afterwards: it may be that of
/// a user whom `sudo` has made root.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let Ok(before) = fs::metadata(file) else { return apiserver::pki::write_private(file, text) };
    let mut place = file.as_os_str().to_owned();
    place.push(format!(".{}.new", std::process::id()));
    let place = PathBuf::from(place);
    let write = || {
        apiserver::pki::write_private(&place, text)?;
        std::os::unix::fs::lchown(&place, Some(before.uid()), Some(before.gid()))?;
        fs::rename(&place, file)
    };
    write().inspect_err(|_| drop(fs::remove_file(&place)))
}

/// What the file says; an absent or empty one says nothing.
fn read(file: &Path) -> anyhow::Result<Value> {
    let failed = || format!("the kubeconfig {} cannot be read", file.display());
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut text = String::new();
    match OpenOptions::new().read(true).custom_flags(flags).open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => {
            let mut opened = opened.with_context(failed)?;
            if !opened.metadata().with_context(failed)?.is_file() {
                bail!("the kubeconfig {} is no plain file, and is left as it is", file.display());
            }
            opened.read_to_string(&mut text).with_context(failed)?;
        }
    }
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str(&text)
        .with_context(|| format!("{} is no kubeconfig, and is left as it is", file.display()))
}

/// The lock that kubectl takes while it changes a kubeconfig: a file beside it, made by whoever holds it.
struct Lock(PathBuf);

impl Lock {
    fn take(file: &Path) -> anyhow::Result<Self> {
        let mut name = file.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        let begin = Instant::now();
        loop {
            let made: io::Result<File> = OpenOptions::new().write(true).create_new(true).open(&lock);
            match made {
                Ok(_) => return Ok(Self(lock)),
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(error).with_context(|| format!("{} cannot be made", lock.display()));
                }
                Err(_) if begin.elapsed() > LOCK_TIME => bail!(
                    "another program changes {} ({} is there); if none does, remove that file",
                    file.display(),
                    lock.display()
                ),
                Err(_) => sleep(LOCK_STEP),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str = "\
apiVersion: v1
kind: Config
preferences: {colors: true}
clusters:
- name: prod
  cluster: {server: https://prod.example:6443, proxy-url: socks5://localhost:1080}
users:
- name: prod
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: login, interactiveMode: Never}
contexts:
- name: prod
  context: {cluster: prod, user: prod, namespace: shop}
current-context: prod
";

    fn access(server: &str) -> Access {
        Access {
            cluster: "demo".into(),
            server: server.into(),
            ca_pem: "CA".into(),
            certificate_pem: "CERTIFICATE".into(),
            key_pem: "KEY".into(),
        }
    }

    fn parse(file: &Path) -> Value {
        serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap()
    }

    #[test]
    fn other_clusters_of_the_file_stay_as_they_are_and_come_back_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        fs::write(&file, THEIRS).unwrap();
        let before = parse(&file);
        merge(&file, &access("https://127.0.0.1:6443"), |_| true).unwrap();
        let merged = parse(&file);
        assert_eq!(merged["clusters"][0], before["clusters"][0]);
        assert_eq!(merged["users"][0], before["users"][0]);
        assert_eq!(merged["contexts"][0], before["contexts"][0]);
        assert_eq!(merged["preferences"], before["preferences"]);
        assert_eq!(merged["current-context"], "demo");
        assert_eq!(merged["contexts"][1]["context"]["user"], "demo");
        remove(&file, "demo", "CA").unwrap();
        let mut after = parse(&file);
        assert_eq!(after["current-context"], "", "who removes the current context has none");
        after["current-context"] = "prod".into();
        assert_eq!(after, before);
    }

    #[test]
    fn what_the_user_has_set_in_the_clusters_context_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        merge(&file, &access("https://127.0.0.1:6443"), |_| true).unwrap();
        let mut config = parse(&file);
        config["contexts"][0]["context"]["namespace"] = "mine".into();
        config["current-context"] = "other".into();
        fs::write(&file, config.to_string()).unwrap();
        merge(&file, &access("https://127.0.0.1:7443"), |_| true).unwrap();
        let config = parse(&file);
        assert_eq!(config["contexts"][0]["context"]["namespace"], "mine");
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://127.0.0.1:7443");
        assert_eq!(config["current-context"], "other", "another start changes no choice of the user");
    }

    #[test]
    fn a_file_that_gives_access_already_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        let access = access("https://127.0.0.1:6443");
        merge(&file, &access, |_| true).unwrap();
        let before = fs::metadata(&file).unwrap().modified().unwrap();
        let again = Access { certificate_pem: "NEWER".into(), key_pem: "NEWER".into(), ..access };
        merge(&file, &again, |pem| pem == "CERTIFICATE").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
        merge(&file, &again, |_| false).unwrap();
        assert!(
            fs::read_to_string(&file).unwrap().contains("TkVXRVI="),
            "an expired certificate is replaced"
        );
    }

    #[test]
    fn an_entry_of_the_same_name_that_portolan_did_not_make_is_never_replaced_or_removed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        fs::write(&file, THEIRS).unwrap();
        let prod = Access { cluster: "prod".into(), ..access("https://127.0.0.1:6443") };
        let error = format!("{:#}", merge(&file, &prod, |_| true).unwrap_err());
        assert!(error.contains("choose another --name"), "{error}");
        remove(&file, "prod", "CA").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), THEIRS);
    }

    #[test]
    fn a_file_that_is_no_kubeconfig_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        for text in ["- a\n- b\n", "clusters: 3\n", "\"", "clusters: [3]\n"] {
            fs::write(&file, text).unwrap();
            let error =
                format!("{:#}", merge(&file, &access("https://127.0.0.1:6443"), |_| true).unwrap_err());
            assert!(error.contains("left as it is"), "{text:?}: {error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
    }

    #[test]
    fn a_file_that_held_nothing_else_goes_and_the_modes_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/config");
        merge(&file, &access("https://127.0.0.1:6443"), |_| true).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        remove(&file, "demo", "CA").unwrap();
        assert!(!file.exists());
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 0, "the lock is given back");
    }

    #[test]
    fn a_link_keeps_leading_to_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("config"), folder.path().join("link"));
        fs::write(&file, THEIRS).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        merge(&link, &access("https://127.0.0.1:6443"), |_| true).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(parse(&file)["clusters"][1]["name"], "demo");
    }

    #[test]
    fn what_is_no_plain_file_is_neither_waited_for_nor_replaced() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let (fifo, directory) = (folder.path().join("fifo"), folder.path().join("directory"));
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        fs::create_dir(&directory).unwrap();
        let device = PathBuf::from("/dev/null");
        for file in [&fifo, &directory, &device] {
            let before = fs::metadata(file).unwrap().ino();
            let error = merge(file, &access("https://127.0.0.1:6443"), |_| true).unwrap_err().to_string();
            assert!(error.contains("no plain file"), "{error}");
            assert_eq!(fs::metadata(file).unwrap().ino(), before);
            assert!(remove(file, "demo", "CA").is_err());
        }
    }

    #[test]
    fn a_file_stays_with_its_owner() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("passed over: files are given to others by root alone");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        fs::write(&file, THEIRS).unwrap();
        std::os::unix::fs::chown(&file, Some(1234), Some(4321)).unwrap();
        let owner = || fs::metadata(&file).map(|file| (file.uid(), file.gid(), file.mode() & 0o777)).unwrap();
        merge(&file, &access("https://127.0.0.1:6443"), |_| true).unwrap();
        assert_eq!(owner(), (1234, 4321, 0o600));
        remove(&file, "demo", "CA").unwrap();
        assert_eq!(owner(), (1234, 4321, 0o600));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
