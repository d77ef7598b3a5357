//! What a server and its children used (proc(5)).

use std::fs;

use rustix::param::clock_ticks_per_second;

use crate::process::status_kib;

/// Processor time in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Processor {
    /// In the program.
    pub(super) user: f64,
    /// In the kernel for it.
    pub(super) kernel: f64,
}

/// The time that a process and its children had so far.
pub(super) fn processor(id: u32) -> Processor {
    let ticks = clock_ticks_per_second() as f64;
    family(id).into_iter().fold(Processor::default(), |sum, id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // The name, in brackets, may have spaces; utime and stime are the 14th and 15th field.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
        let mut times = fields.skip(11).filter_map(|field| field.parse::<f64>().ok());
        let mut next = || times.next().unwrap_or_default() / ticks;
        Processor { user: sum.user + next(), kernel: sum.kernel + next() }
    })
}

/// Resident memory now and at most, in MiB, of a process and its children.
pub(super) fn memory_mib(id: u32) -> (f64, f64) {
    let sum =
        |field: &str| -> f64 { family(id).into_iter().map(|id| status_kib(id, field) as f64 / 1024.0).sum() };
    (sum("VmRSS"), sum("VmHWM"))
}

/// Lets the kernel count the most resident memory from now on.
pub(super) fn forget_peak(id: u32) {
    for id in family(id) {
        if let Err(error) = fs::write(format!("/proc/{id}/clear_refs"), "5") {
            eprintln!("the most memory of {id} is counted from its start: {error}");
        }
    }
}

/// A process, its children and theirs.
pub(super) fn family(id: u32) -> Vec<u32> {
    let mut all = vec![id];
    let mut next = 0;
    while let Some(id) = all.get(next).copied() {
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        next += 1;
    }
    all
}
