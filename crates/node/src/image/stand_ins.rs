//! Stand-in images for machines without a registry: `httpd` and `busybox`, made from a static busybox.
//!
//! They answer to the names of the real images, so that the same manifests run with and without a registry.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::archive::{File, Image};
use crate::Error;

/// Where distributions put busybox.
const BUSYBOX: [&str; 4] =
    ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox-static", "/usr/bin/busybox.static"];

/// The page of a fresh Apache httpd.
const PAGE: &[u8] = b"<html><body><h1>It works!</h1></body></html>\n";

/// Runs the server as a child and ends at once at SIGTERM: a process 1 without handler would ignore it
/// (pid_namespaces(7)). Requests are logged to standard output.
const SERVE: &str = "#!/bin/sh\n\
    trap 'kill $server; exit 0' TERM INT WINCH\n\
    httpd -f -vv -p 80 -h /www 2>&1 &\n\
    server=$!\n\
    wait $server\n";

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The names of the archives that [`write_stand_ins`] writes.
pub const STAND_INS: [&str; 2] = ["httpd.tar", "busybox.tar"];

/// Writes the archives `httpd.tar` and `busybox.tar` into `dir`, unless they are there with these very
/// contents. Returns their paths.
pub fn write_stand_ins(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let busybox = find_busybox()?;
    fs::create_dir_all(dir).map_err(Error::file("create the folder", dir))?;
    let mut written = Vec::new();
    for (name, image) in STAND_INS.into_iter().zip([httpd(&busybox), busybox_image(&busybox)]) {
        let path = dir.join(name);
        let archive = image.to_archive();
        if fs::read(&path).is_ok_and(|old| old == archive) {
            written.push(path);
            continue;
        }
        let partial = dir.join(format!(".{name}.partial"));
        fs::write(&partial, archive).map_err(Error::file("write", partial.clone()))?;
        fs::rename(&partial, &path).map_err(Error::file("write", path.clone()))?;
        written.push(path);
    }
    Ok(written)
}

fn httpd(busybox: &[u8]) -> Image {
    let mut files = root(busybox);
    files.push(File::Directory { path: "www".into(), mode: 0o755 });
    files.push(File::Regular { path: "www/index.html".into(), mode: 0o644, contents: PAGE.to_vec() });
    files.push(File::Regular { path: "bin/serve".into(), mode: 0o755, contents: SERVE.into() });
    Image {
        names: vec!["httpd:latest".into(), "httpd:2.4".into()],
        entrypoint: vec![],
        command: vec!["/bin/serve".into()],
        env: vec![PATH.into()],
        files,
    }
}

fn busybox_image(busybox: &[u8]) -> Image {
    Image {
        names: vec!["busybox:latest".into(), "busybox:1.28".into()],
        entrypoint: vec![],
        command: vec!["sh".into()],
        env: vec![PATH.into()],
        files: root(busybox),
    }
}

/// A root file system with all of busybox's applets.
fn root(busybox: &[u8]) -> Vec<File> {
    let directory = |path: &str, mode| File::Directory { path: path.into(), mode };
    let regular = |path: &str, contents: &[u8], mode| File::Regular {
        path: path.into(),
        mode,
        contents: contents.to_vec(),
    };
    let mut files = vec![
        directory("bin", 0o755),
        directory("dev", 0o755),
        directory("etc", 0o755),
        directory("home", 0o755),
        directory("proc", 0o755),
        directory("root", 0o700),
        directory("sys", 0o755),
        directory("tmp", 0o1777),
        directory("usr", 0o755),
        File::Symlink { path: "usr/bin".into(), target: "../bin".into() },
        File::Symlink { path: "sbin".into(), target: "bin".into() },
        directory("var", 0o755),
        regular(
            "etc/passwd",
            b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
            0o644,
        ),
        regular("etc/group", b"root:x:0:\nnogroup:x:65534:\n", 0o644),
        regular("bin/busybox", busybox, 0o755),
    ];
    for applet in applets(busybox) {
        files.push(File::Symlink { path: format!("bin/{applet}"), target: "busybox".into() });
    }
    files
}

/// The names of busybox's applets, read from its table of names: every NUL-terminated word of the run that
/// begins with `[`, `[[`, and is sorted.
fn applets(busybox: &[u8]) -> Vec<String> {
    let start = b"\0[\0[[\0";
    let Some(at) = busybox.windows(start.len()).position(|window| window == start) else {
        return ["sh", "cat", "httpd", "kill", "ls", "nc", "nslookup", "sleep", "wget"]
            .map(String::from)
            .into();
    };
    busybox[at + 1..]
        .split(|&byte| byte == 0)
        .take_while(|word| !word.is_empty())
        .filter_map(|word| std::str::from_utf8(word).ok())
        .filter(|&word| word != "busybox" && !word.contains('/'))
        .map(str::to_owned)
        .collect()
}

/// The first busybox that needs no shared libraries.
fn find_busybox() -> Result<Vec<u8>, Error> {
    BUSYBOX
        .iter()
        .filter_map(|path| fs::read(path).ok())
        .find(|program| is_static(program))
        .ok_or_else(|| Error::MissingBusybox { looked_at: BUSYBOX.join(", ") })
}

/// Whether an ELF64 file names no interpreter (`PT_INTERP`), that is, runs without shared libraries.
fn is_static(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let word = |at: usize, len: usize| {
        let bytes = elf.get(at..at + len)?;
        Some(bytes.iter().rev().fold(0u64, |value, &byte| (value << 8) | u64::from(byte)))
    };
    let headers = || {
        let (offset, size, count) = (word(32, 8)?, word(54, 2)?, word(56, 2)?);
        let kinds = (0..count).map(|n| word(usize::try_from(offset + n * size).ok()?, 4));
        kinds.collect::<Option<Vec<u64>>>()
    };
    elf.starts_with(b"\x7fELF") && headers().is_some_and(|kinds| !kinds.contains(&u64::from(PT_INTERP)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applets_are_read_from_the_programs_own_table() {
        let program = b"junk\0[\0[[\0ash\0busybox\0cat\0\0rest\0";
        assert_eq!(applets(program), ["[", "[[", "ash", "cat"]);
    }

    #[test]
    fn a_program_with_interpreter_is_not_static() {
        assert!(is_static(&crate::image::pause::program()));
        let own = fs::read("/proc/self/exe").unwrap();
        assert!(!is_static(&own) || cfg!(target_feature = "crt-static"));
        assert!(!is_static(b"#!/bin/sh\n"));
        assert!(!is_static(b"\x7fELF"));
    }
}
