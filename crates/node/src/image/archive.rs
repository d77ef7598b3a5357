//! Making an image archive, in the form that `docker save` writes and every tool loads.

use serde_json::json;

use super::tar::Writer;

/// Debian's and Docker's name for the processor architecture of this program.
#[cfg(target_arch = "x86_64")]
pub(crate) const ARCHITECTURE: &str = "amd64";
/// Debian's and Docker's name for the processor architecture of this program.
#[cfg(target_arch = "aarch64")]
pub(crate) const ARCHITECTURE: &str = "arm64";

/// One entry of an image's only layer. Paths have no leading slash; parents come before children.
#[derive(Clone, Debug)]
pub enum File {
    /// A folder.
    Directory {
        /// Path.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// A regular file.
    Regular {
        /// Path.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Contents.
        contents: Vec<u8>,
    },
    /// A symbolic link.
    Symlink {
        /// Path.
        path: String,
        /// Where it points.
        target: String,
    },
}

/// An image of one layer.
#[derive(Clone, Debug)]
pub struct Image {
    /// Names with tags, such as `busybox:latest`.
    pub names: Vec<String>,
    /// What a container runs.
    pub entrypoint: Vec<String>,
    /// Arguments that a pod's `args` replace.
    pub command: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Contents of the layer.
    pub files: Vec<File>,
}

impl Image {
    /// The archive. Equal images make equal archives.
    pub fn to_archive(&self) -> Vec<u8> {
        let layer = self.layer();
        let layer_digest = sha256(&layer);
        // containerd imports files of the same name one after the other, with a long pause between.
        let layer_name = format!("{layer_digest}/layer.tar");
        let config = json!({
            "architecture": ARCHITECTURE,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Entrypoint": self.entrypoint, "Cmd": self.command, "Env": self.env, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "portolan"}],
        })
        .to_string();
        let config_name = format!("{}.json", sha256(config.as_bytes()));
        let manifest = json!([{"Config": config_name, "RepoTags": self.names, "Layers": [layer_name]}]);
        let mut archive = Writer::default();
        archive.file("manifest.json", 0o644, manifest.to_string().as_bytes());
        archive.file(&config_name, 0o644, config.as_bytes());
        archive.file(&layer_name, 0o644, &layer);
        archive.finish()
    }

    fn layer(&self) -> Vec<u8> {
        let mut layer = Writer::default();
        for file in &self.files {
            match file {
                File::Directory { path, mode } => layer.directory(path, *mode),
                File::Regular { path, mode, contents } => layer.file(path, *mode, contents),
                File::Symlink { path, target } => layer.symlink(path, target),
            }
        }
        layer.finish()
    }
}

/// SHA-256 in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tar::tests::read_file;

    #[test]
    fn a_manifest_names_a_config_whose_diff_id_is_the_layers_digest() {
        let image = Image {
            names: vec!["example:1".into()],
            entrypoint: vec!["/a".into()],
            command: vec![],
            env: vec![],
            files: vec![File::Regular { path: "a".into(), mode: 0o755, contents: b"hello".to_vec() }],
        };
        let archive = image.to_archive();
        let read = |name: &str| read_file(&archive, name).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&read("manifest.json")).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], "example:1");
        let config: serde_json::Value =
            serde_json::from_slice(&read(manifest[0]["Config"].as_str().unwrap())).unwrap();
        let diff_id = format!("sha256:{}", sha256(&read(manifest[0]["Layers"][0].as_str().unwrap())));
        assert_eq!(config["rootfs"]["diff_ids"][0], diff_id.as_str());
    }

    #[test]
    fn sha256_is_the_one_of_fips_180() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
