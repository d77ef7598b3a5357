//! A wish to the allocator that no safe interface has.
#![allow(unsafe_code)]

/// Gives memory that is free back to the system, as after a long list: the objects of one page of it are gone, and
/// the memory that they took would be kept for later ones.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the allocator may be told so at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
