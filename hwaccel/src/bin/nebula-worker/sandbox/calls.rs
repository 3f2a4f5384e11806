//! The system calls a job may make.

use std::collections::BTreeMap;

use nebula_hwaccel::protocol::CONTROL_FD;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter, apply_filter_all_threads,
};

type Error = Box<dyn std::error::Error>;

/// Memory, threads, clocks, and reading from what is open.
const ALWAYS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_restart_syscall,
];

/// What GPU drivers do besides: ioctl on the render node, mappings of its buffers, fences.
const WITH_GPU: &[i64] = &[
    libc::SYS_ioctl,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_write,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_memfd_create,
    libc::SYS_ftruncate,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

/// Applies the filters to this process; gives the number of allowed calls.
pub fn restrict(gpu: bool) -> Result<u32, Error> {
    // The arguments of clone3 cannot be inspected; without it libc falls back to clone, whose can.
    let no_clone3 = filter(
        BTreeMap::from([(libc::SYS_clone3, vec![])]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
    )?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALWAYS.iter().map(|call| (*call, vec![])).collect();
    rules.insert(libc::SYS_clone3, vec![]);
    rules.insert(
        libc::SYS_clone,
        vec![when(
            0,
            SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64),
            libc::CLONE_THREAD as u64,
        )?],
    );
    rules.insert(
        libc::SYS_prctl,
        vec![when(0, SeccompCmpOp::Eq, libc::PR_SET_NAME as u64)?],
    );
    if gpu {
        rules.extend(WITH_GPU.iter().map(|call| (*call, vec![])));
    } else {
        let executable = libc::PROT_EXEC as u64;
        rules.insert(
            libc::SYS_mmap,
            vec![when(2, SeccompCmpOp::MaskedEq(executable), 0)?],
        );
        rules.insert(
            libc::SYS_mprotect,
            vec![when(2, SeccompCmpOp::MaskedEq(executable), 0)?],
        );
        let to_parent = when(0, SeccompCmpOp::Eq, CONTROL_FD as u64)?;
        let to_stderr = when(0, SeccompCmpOp::Eq, libc::STDERR_FILENO as u64)?;
        rules.insert(libc::SYS_write, vec![to_parent, to_stderr]);
    }
    let count = rules.len() as u32;
    let allowed = filter(
        rules,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
    )?;
    apply(&no_clone3, gpu)?;
    apply(&allowed, gpu)?;
    Ok(count)
}

/// A GPU driver may have threads already; without one this is the only thread.
fn apply(program: &BpfProgram, all_threads: bool) -> Result<(), Error> {
    if all_threads {
        apply_filter_all_threads(program)?;
    } else {
        apply_filter(program)?;
    }
    Ok(())
}

fn when(argument: u8, comparison: SeccompCmpOp, value: u64) -> Result<SeccompRule, Error> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, comparison, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}

fn filter(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, Error> {
    Ok(SeccompFilter::new(
        rules,
        otherwise,
        matched,
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()?)
}
