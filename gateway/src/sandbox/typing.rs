//! What a command gives up of the terminal that it shares with whoever started it.
//!
//! In: a process that is about to become a command. Out: one that reads and writes its terminal, and types nothing into it:
//! what is typed (`TIOCSTI` of ioctl_tty(2)) is read by the shell outside when the command ends or stops, and carried out
//! there. Never takes the terminal itself away.

use seccompiler::{BpfProgram, sock_filter};

/// `AUDIT_ARCH_*` of linux/audit.h, with the number of ioctl(2) there: x86-64, the same with 32-bit pointers, i386, AArch64,
/// Arm.
const IOCTL: [(u32, u32); 5] =
    [(0xc000_003e, 16), (0xc000_003e, 0x4000_0202), (0x4000_0003, 54), (0xc000_00b7, 29), (0x4000_0028, 54)];
/// Of asm-generic/ioctls.h: a typed byte; and what the console pastes, beside much else.
const TYPE: u32 = 0x5412;
const CONSOLE: u32 = 0x541c;

/// Fields of `struct seccomp_data` of linux/seccomp.h: the lower half of the second argument, where bytes go upward.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const COMMAND: u32 = 24;
/// Of linux/bpf_common.h and linux/seccomp.h.
const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
const ALLOW: u32 = 0x7fff_0000;
const FAIL_WITH_EPERM: u32 = 0x0005_0001;

/// From here on this process and what it starts type into no terminal. Call it with new privileges given up.
///
/// # Errors
/// Where the kernel has no filters for system calls.
pub fn forbid() -> Result<(), seccompiler::Error> {
    seccompiler::apply_filter(&filter())
}

fn filter() -> BpfProgram {
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let refused = |(architecture, number)| {
        [
            step(LOAD, 0, 0, ARCHITECTURE),
            step(IF_EQUAL, 0, 6, architecture),
            step(LOAD, 0, 0, NUMBER),
            step(IF_EQUAL, 0, 4, number),
            step(LOAD, 0, 0, COMMAND),
            step(IF_EQUAL, 1, 0, TYPE),
            step(IF_EQUAL, 0, 1, CONSOLE),
            step(RETURN, 0, 0, FAIL_WITH_EPERM),
        ]
    };
    IOCTL.into_iter().flat_map(refused).chain([step(RETURN, 0, 0, ALLOW)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jump_of_the_filter_stays_in_it() {
        let filter = filter();
        for (at, step) in filter.iter().enumerate().filter(|(_, step)| step.code == IF_EQUAL) {
            assert!(at + 1 + usize::from(step.jt.max(step.jf)) < filter.len(), "{step:?}");
        }
        assert_eq!(filter.last().unwrap().k, ALLOW);
    }
}
