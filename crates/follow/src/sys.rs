//! Wishes to the allocator and the kernel that no safe interface has.
#![allow(unsafe_code)]

/// Gives back to the system what was needed for a long list and will not be for long: memory that the allocator keeps
/// for later objects, and the program's own code as far as it lies in memory. What still runs of that comes back page
/// by page, from the file, in microseconds.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the allocator may be told so at any time.
    unsafe {
        libc::malloc_trim(0);
    }
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_default();
    for (start, length) in code(&maps, &program.to_string_lossy()) {
        // SAFETY: these pages are mapped from a file, cannot be written and are as they are there, so the kernel can
        // fetch them again when they are needed.
        unsafe {
            libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED);
        }
    }
}

/// Where a program's code lies, by the text of `/proc/self/maps` (proc(5)): what is executed and cannot be written.
fn code<'a>(maps: &'a str, program: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
    maps.lines().filter_map(move |line| {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next()?, words.next()?);
        let of_program = rights == "r-xp" && !program.is_empty() && words.last() == Some(program);
        let (start, end) = range.split_once('-').filter(|_| of_program)?;
        let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        Some((start, end.checked_sub(start)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_own_code_is_given_back() {
        let maps = "\
55a0-55b0 r--p 00000000 fe:00 12 /usr/bin/portolan
55b0-55f0 r-xp 00010000 fe:00 12 /usr/bin/portolan
55f0-5600 rw-p 00050000 fe:00 12 /usr/bin/portolan
7000-7100 r-xp 00000000 fe:00 13 /lib/libc.so.6
7100-7200 r-xp 00000000 00:00 0 [vdso]
";
        assert_eq!(code(maps, "/usr/bin/portolan").collect::<Vec<_>>(), [(0x55b0, 0x40)]);
        assert_eq!(code(maps, "").count(), 0);
    }

    #[test]
    fn a_program_goes_on_after_it_gave_back_its_code() {
        give_back_memory();
        assert_eq!((1..=10).sum::<usize>(), 55);
    }
}
