//! Killing a program before a chosen change of the kernel's rules, by ptrace(2), which no safe interface has.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::io;
use std::mem::{MaybeUninit, offset_of};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::null_mut;

use libc::{c_int, c_void, pid_t};

/// What became of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It ended with this status after so many transactions.
    Own { status: c_int, transactions: usize },
    /// It was killed.
    Killed,
}

/// Starts a program and kills it, and all that it started, when any of them is about to send the last of so many
/// nf_tables transactions; the kernel does not get that one any more.
pub(super) fn run_until(mut command: Command, last: usize) -> End {
    // SAFETY: between fork and exec there is only one system call.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    let program = command.spawn().unwrap().id() as pid_t;
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_EXITKILL;
    assert_eq!(wait(), Some((program, stopped_by(libc::SIGTRAP))));
    ask(libc::PTRACE_SETOPTIONS, program, options);
    go_on(program, 0);
    let (mut threads, mut begun) = (BTreeSet::from([program]), 0);
    while let Some((thread, status)) = wait() {
        if !libc::WIFSTOPPED(status) {
            threads.remove(&thread);
            if thread == program {
                kill(&threads);
                return End::Own { status, transactions: begun };
            }
            continue;
        }
        let is_new = threads.insert(thread);
        let signal = libc::WSTOPSIG(status);
        if signal == libc::SIGTRAP | 0x80 {
            begun += usize::from(sends(thread).is_some_and(|data| is_transaction(thread, data)));
            if begun == last {
                kill(&threads);
                return End::Killed;
            }
        }
        // Stops that only tell the tracer something are no signals for the program.
        let is_for_us = signal & 0x7f == libc::SIGTRAP || is_new && signal == libc::SIGSTOP;
        go_on(thread, if is_for_us { 0 } else { signal });
    }
    panic!("the program is gone without a word");
}

/// The status of a thread that this signal stopped.
fn stopped_by(signal: c_int) -> c_int {
    signal << 8 | 0x7f
}

/// What happened to any thread that this one traces; `None` when there is none.
fn wait() -> Option<(pid_t, c_int)> {
    let mut status = 0;
    // SAFETY: the kernel writes one number. Children of other threads are left to them.
    let thread = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
    (thread > 0).then_some((thread, status))
}

/// Kills all, and waits until they are gone.
fn kill(threads: &BTreeSet<pid_t>) {
    for thread in threads {
        // SAFETY: takes two numbers; the thread is not waited for yet, so the number is still its own.
        unsafe { libc::kill(*thread, libc::SIGKILL) };
    }
    while let Some((thread, status)) = wait() {
        if libc::WIFSTOPPED(status) {
            go_on(thread, libc::SIGKILL);
        }
    }
}

/// Where the data begin that a stopped thread is about to send; `None` when it is about to do something else, or has
/// done it.
fn sends(thread: pid_t) -> Option<u64> {
    let mut info = MaybeUninit::<libc::ptrace_syscall_info>::zeroed();
    // SAFETY: the kernel writes as many bytes as it is told there are; zeros are a value of every field.
    let info = unsafe {
        let size = size_of_val(&info) as *mut c_void;
        libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, thread, size, info.as_mut_ptr());
        info.assume_init()
    };
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // SAFETY: this is the kind of stop that has the field.
    let call = unsafe { info.u.entry };
    let data = call.args[1];
    match call.nr as i64 {
        libc::SYS_sendto => Some(data),
        libc::SYS_sendmsg => {
            let pieces = word(thread, data + offset_of!(libc::msghdr, msg_iov) as u64);
            Some(word(thread, pieces + offset_of!(libc::iovec, iov_base) as u64))
        }
        _ => None,
    }
}

/// Whether a netlink message begins there, whose type says that it begins a transaction.
fn is_transaction(thread: pid_t, data: u64) -> bool {
    let bytes = word(thread, data).to_ne_bytes();
    i32::from(u16::from_ne_bytes([bytes[4], bytes[5]])) == libc::NFNL_MSG_BATCH_BEGIN
}

/// Eight bytes of a thread's memory; zero if there is none.
fn word(thread: pid_t, address: u64) -> u64 {
    let none = null_mut::<c_void>();
    // SAFETY: reads memory of the other process only.
    let word = unsafe { libc::ptrace(libc::PTRACE_PEEKDATA, thread, address as *mut c_void, none) };
    if word == -1 { 0 } else { word as u64 }
}

fn go_on(thread: pid_t, signal: c_int) {
    ask(libc::PTRACE_SYSCALL, thread, signal);
}

/// A thread that was killed meanwhile does not answer, and its end is told by [`wait`].
fn ask(request: libc::c_uint, thread: pid_t, data: c_int) {
    // SAFETY: these requests take a number where others take an address.
    unsafe { libc::ptrace(request, thread, null_mut::<c_void>(), data as *mut c_void) };
}
