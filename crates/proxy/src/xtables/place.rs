//! The network namespace that is worked in.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::{Command, Output, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::failure::Failure;

/// A network namespace.
#[derive(Debug)]
pub struct Place(Option<File>);

impl Place {
    /// That of the thread that asks.
    pub fn here() -> Self {
        Self(None)
    }

    /// The one that this file stands for, such as `/run/netns/NAME` or `/proc/PID/ns/net`.
    pub fn namespace(file: File) -> Self {
        Self(Some(file))
    }

    /// Works in the namespace, on a thread of its own if it is another.
    ///
    /// # Errors
    /// Those of entering it.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> io::Result<R> {
        let Some(file) = &self.0 else { return Ok(work()) };
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(work())
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a program in the namespace; `None` if there is no such program.
    pub(super) fn program(
        &self,
        program: &str,
        arguments: &[&str],
        input: &str,
    ) -> Result<Option<Output>, Failure> {
        let run = || {
            let mut child = Command::new(program)
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                // A program that ends before it has read all says why by itself.
                let _ = stdin.write_all(input.as_bytes());
            }
            child.wait_with_output()
        };
        match self.run(run)? {
            Ok(output) => Ok(Some(output)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::Run { program: program.to_owned(), error }),
        }
    }
}
