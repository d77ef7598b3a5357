//! Writing lines to standard output without waiting for its reader.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// The most lines that wait to be written. More are left out and counted.
const MOST_WAITING: usize = 16_384;

/// Hands lines to a thread that writes them. The reader of standard output may be slow; queries are answered
/// meanwhile.
#[derive(Debug)]
pub(crate) struct LogWriter {
    waiting: SyncSender<String>,
    left_out: AtomicUsize,
}

impl LogWriter {
    /// A writer to standard output.
    ///
    /// # Errors
    /// When the machine has no thread left.
    pub(crate) fn on_standard_output() -> io::Result<Self> {
        let (waiting, lines) = sync_channel(MOST_WAITING);
        std::thread::Builder::new().name("dns-log".to_owned()).spawn(move || write(&lines, io::stdout()))?;
        Ok(Self { waiting, left_out: AtomicUsize::new(0) })
    }

    /// A writer to a channel that a test reads.
    #[cfg(test)]
    pub(super) fn to(waiting: SyncSender<String>) -> Self {
        Self { waiting, left_out: AtomicUsize::new(0) }
    }

    /// Hands over a line, or leaves it out if too many wait.
    pub(super) fn put(&self, line: String) {
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            let text = format!("[WARNING] {left_out} lines are left out: standard output is read too slowly");
            if self.waiting.try_send(text).is_err() {
                self.left_out.fetch_add(left_out, Ordering::Relaxed);
            }
        }
        // If the thread has ended, standard output is closed and the line is not missed.
        if let Err(TrySendError::Full(_)) = self.waiting.try_send(line) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes lines until the writer is dropped or standard output is closed. Lines that are ready are written together.
fn write(lines: &Receiver<String>, output: impl Write) {
    let mut output = io::BufWriter::new(output);
    while let Ok(line) = lines.recv() {
        let ready = std::iter::once(line).chain(lines.try_iter().take(MOST_WAITING));
        let written = ready.into_iter().try_for_each(|line| writeln!(output, "{line}"));
        if let Err(error) = written.and_then(|()| output.flush()) {
            tracing::warn!(%error, "queries are not logged any more: standard output cannot be written");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_a_slow_reader_misses_are_counted() {
        let (waiting, reader) = sync_channel(2);
        let lines = LogWriter::to(waiting);
        ["a", "b", "c", "d"].map(str::to_owned).into_iter().for_each(|line| lines.put(line));
        assert_eq!(reader.try_iter().collect::<Vec<_>>(), ["a", "b"]);
        lines.put("e".to_owned());
        let told: Vec<_> = reader.try_iter().collect();
        assert!(told[0].starts_with("[WARNING] 2 lines are left out"), "{told:?}");
        assert_eq!(told[1..], ["e"]);
    }

    #[test]
    fn lines_are_written_until_the_writer_is_dropped() {
        let (waiting, reader) = sync_channel(2);
        LogWriter::to(waiting).put("a".to_owned());
        let mut output = Vec::new();
        write(&reader, &mut output);
        assert_eq!(output, b"a\n");
    }
}
