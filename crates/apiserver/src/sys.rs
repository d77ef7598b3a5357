//! What the allocator is told. The only file of this crate that calls what the compiler cannot check.
#![allow(unsafe_code)]

/// Blocks from this size on are mapped one by one, and go back to the system as soon as they are free.
#[cfg(target_env = "gnu")]
const MAPPED: libc::c_int = 128 * 1024;

/// Keeps the allocator from keeping much: by default glibc raises the size from which blocks are mapped to the largest
/// that was ever freed, up to 32 MiB, and such blocks then stay in its heap.
#[cfg(target_env = "gnu")]
pub(crate) fn keep_little() {
    // SAFETY: mallopt takes numbers and may be called at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
        libc::mallopt(libc::M_TRIM_THRESHOLD, MAPPED);
    }
}

/// Gives free memory of all heaps back to the system.
#[cfg(target_env = "gnu")]
pub(crate) fn trim() {
    // SAFETY: malloc_trim takes a number and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators decide for themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn keep_little() {}

/// Other allocators decide for themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn trim() {}
