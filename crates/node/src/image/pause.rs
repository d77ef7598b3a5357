//! The image that holds a pod's namespaces open: one static program of some 200 bytes.
//!
//! The program is written here instruction by instruction, so that a node needs neither a registry nor a
//! compiler for it. It sleeps until SIGTERM or SIGINT arrives. As process 1 of its pid namespace it would be
//! deaf to both without a handler (pid_namespaces(7)), and it reaps the orphans of a shared pid namespace by
//! ignoring SIGCHLD (sigaction(2)).

use super::archive::{File, Image};

/// The image's name. Part of the runtime's configuration (`sandbox_image`).
pub const NAME: &str = "portolan.local/pause:1";

/// Where the program is loaded: the address that linkers use for static programs.
const LOAD_ADDRESS: u64 = 0x40_0000;
/// Size of the ELF header and the one program header after it.
const HEADERS: u64 = 64 + 56;

/// The pause image.
pub fn image() -> Image {
    Image {
        names: vec![NAME.into()],
        entrypoint: vec!["/pause".into()],
        command: vec![],
        env: vec![],
        files: vec![File::Regular { path: "pause".into(), mode: 0o755, contents: program() }],
    }
}

/// The program as an ELF file: header, one loadable segment, code.
pub fn program() -> Vec<u8> {
    let code = machine::code();
    let size = HEADERS + code.len() as u64;
    let mut elf = Vec::new();
    elf.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"); // 64 bit, little endian, version 1, System V
    elf.extend_from_slice(&2u16.to_le_bytes()); // e_type: executable
    elf.extend_from_slice(&machine::ELF.to_le_bytes()); // e_machine
    elf.extend_from_slice(&1u32.to_le_bytes()); // e_version
    elf.extend_from_slice(&(LOAD_ADDRESS + HEADERS).to_le_bytes()); // e_entry: the code
    elf.extend_from_slice(&64u64.to_le_bytes()); // e_phoff: right after this header
    elf.extend_from_slice(&0u64.to_le_bytes()); // e_shoff: no sections
    elf.extend_from_slice(&0u32.to_le_bytes()); // e_flags
    for half in [64u16, 56, 1, 64, 0, 0] {
        elf.extend_from_slice(&half.to_le_bytes()); // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx
    }
    elf.extend_from_slice(&1u32.to_le_bytes()); // p_type: load
    elf.extend_from_slice(&5u32.to_le_bytes()); // p_flags: read and execute
    for word in [0, LOAD_ADDRESS, LOAD_ADDRESS, size, size, 0x1000] {
        elf.extend_from_slice(&word.to_le_bytes()); // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
    }
    elf.extend_from_slice(&code);
    elf
}

#[cfg(target_arch = "x86_64")]
mod machine {
    //! x86-64: system call number in eax, arguments in rdi, rsi, rdx, r10 (the kernel's calling convention).

    /// `EM_X86_64`.
    pub(super) const ELF: u16 = 62;

    /// Bytes of one `rt_sigaction` call below, instruction by instruction.
    const CALL: usize = 5 + 5 + 7 + 2 + 6 + 2;

    /// Three `rt_sigaction` calls, a loop around `pause`, the handler, and the two sigactions as data.
    pub(super) fn code() -> Vec<u8> {
        let pause = 3 * CALL;
        let handler = pause + 5 + 2 + 2;
        let handle = handler + 2 + 5 + 2;
        let ignore = handle + 32;
        let mut code = Vec::new();
        for (signal, action) in [(15u8, handle), (2, handle), (17, ignore)] {
            let next = code.len() + 5 + 5 + 7;
            code.extend_from_slice(&[0xb8, 13, 0, 0, 0]); // mov eax, SYS_rt_sigaction
            code.extend_from_slice(&[0xbf, signal, 0, 0, 0]); // mov edi, signal
            code.extend_from_slice(&[0x48, 0x8d, 0x35]); // lea rsi, [rip + action]
            code.extend_from_slice(&((action - next) as u32).to_le_bytes());
            code.extend_from_slice(&[0x31, 0xd2]); // xor edx, edx
            code.extend_from_slice(&[0x41, 0xba, 8, 0, 0, 0]); // mov r10d, sizeof(sigset)
            code.extend_from_slice(&[0x0f, 0x05]); // syscall
        }
        code.extend_from_slice(&[0xb8, 34, 0, 0, 0]); // mov eax, SYS_pause
        code.extend_from_slice(&[0x0f, 0x05]); // syscall
        code.extend_from_slice(&[0xeb, 0xf7]); // jmp to the mov above
        code.extend_from_slice(&[0x31, 0xff]); // handler: xor edi, edi
        code.extend_from_slice(&[0xb8, 60, 0, 0, 0]); // mov eax, SYS_exit
        code.extend_from_slice(&[0x0f, 0x05]); // syscall
        code.extend(sigaction(super::LOAD_ADDRESS + super::HEADERS + handler as u64));
        code.extend(sigaction(1)); // SIG_IGN
        code
    }

    /// The kernel's `struct sigaction`: handler, flags, restorer, mask. SA_RESTORER is demanded on this
    /// machine; the handler never returns, so the restorer never runs.
    fn sigaction(handler: u64) -> impl Iterator<Item = u8> {
        const SA_RESTORER: u64 = 0x0400_0000;
        [handler, SA_RESTORER, 0, 0].into_iter().flat_map(u64::to_le_bytes)
    }
}

#[cfg(target_arch = "aarch64")]
mod machine {
    //! arm64: system call number in x8, arguments in x0 to x3; every instruction has four bytes.

    /// `EM_AARCH64`.
    pub(super) const ELF: u16 = 183;

    /// Instructions of one `rt_sigaction` call below.
    const CALL: usize = 6;

    /// Three `rt_sigaction` calls, a loop around `ppoll`, the handler, and the two sigactions as data.
    pub(super) fn code() -> Vec<u8> {
        let poll = 3 * CALL;
        let handler = poll + 7;
        // The data is aligned to 8 bytes: headers are 120 bytes, instructions before it must be even in number.
        let data = (handler + 3).next_multiple_of(2);
        let mut code: Vec<u32> = Vec::new();
        for (signal, action) in [(15u32, data), (2, data), (17, data + 8)] {
            let movz = |register: u32, value: u32| 0xd280_0000 | (value << 5) | register;
            code.extend([movz(8, 134), movz(0, signal)]); // x8 = SYS_rt_sigaction, x0 = signal
            code.push(adr(1, action - code.len())); // x1 = &action
            code.extend([movz(2, 0), movz(3, 8), SVC]); // x2 = NULL, x3 = sizeof(sigset)
        }
        code.extend([0xd280_0000, 0xd280_0001, 0xd280_0002, 0xd280_0003]); // x0..x3 = 0
        code.extend([0xd280_0928, SVC]); // x8 = SYS_ppoll
        code.push(0x1400_0000 | ((-6i32 as u32) & 0x03ff_ffff)); // b back to x0 = 0
        code.extend([0xd280_0000, 0xd280_0ba8, SVC]); // handler: x0 = 0, x8 = SYS_exit
        code.resize(data, 0xd503_201f); // nop
        let address = super::LOAD_ADDRESS + super::HEADERS + 4 * handler as u64;
        let mut bytes: Vec<u8> = code.into_iter().flat_map(u32::to_le_bytes).collect();
        for handler in [address, 1] {
            bytes.extend([handler, 0, 0, 0].into_iter().flat_map(u64::to_le_bytes)); // handler, flags, restorer, mask
        }
        bytes
    }

    /// `svc #0`.
    const SVC: u32 = 0xd400_0001;

    /// `adr register, pc + 4 * words`.
    fn adr(register: u32, words: usize) -> u32 {
        let offset = 4 * words as u32;
        0x1000_0000 | ((offset & 3) << 29) | ((offset >> 2) << 5) | register
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, os::unix::fs::PermissionsExt, process::Command, time::Duration};

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    #[test]
    fn the_program_is_one_small_loadable_segment() {
        let program = program();
        assert!(program.len() < 512, "{} bytes", program.len());
        assert_eq!(&program[..4], b"\x7fELF");
        let size = u64::from_le_bytes(program[64 + 32..64 + 40].try_into().unwrap());
        assert_eq!(size, program.len() as u64);
    }

    #[test]
    fn the_program_sleeps_and_ends_with_0_at_sigterm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pause");
        fs::File::create(&path).unwrap().write_all(&program()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = Command::new(&path).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert!(child.try_wait().unwrap().is_none(), "it must not end by itself");
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
