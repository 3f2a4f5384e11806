//! Tries what must not be possible, from inside.

use std::ffi::CStr;
use std::sync::Arc;

use nebula_hwaccel::protocol::{FromWorker, INPUT_FD, SelftestReport, Summary};

use crate::control::Link;
use crate::failure::JobError;

/// More than any sensible memory limit.
const TOO_MUCH_BYTES: usize = 1 << 44;

/// Reports the errno of each attempt.
pub fn run(link: &Arc<Link>) -> Result<Summary, JobError> {
    let report = SelftestReport {
        open: open(c"/etc/passwd", libc::O_RDONLY),
        create: open(
            c"nebula-selftest",
            libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL,
        ),
        connect: socket(libc::AF_INET, libc::SOCK_STREAM),
        unix_socket: socket(libc::AF_UNIX, libc::SOCK_DGRAM),
        exec: exec(c"/bin/true"),
        fork: fork(),
        ptrace: ptrace(),
        kill_parent: kill_parent(),
        grow: grow(),
        allocate: allocate(),
    };
    link.send(&FromWorker::Selftest(report))?;
    Ok(Summary::default())
}

fn errno_if(failed: bool) -> i32 {
    if failed {
        std::io::Error::last_os_error().raw_os_error().unwrap_or(-1)
    } else {
        0
    }
}

fn open(path: &CStr, flags: i32) -> i32 {
    // SAFETY: the path is a valid C string; a descriptor that opens against expectation leaks until the exit.
    errno_if(unsafe { libc::open(path.as_ptr(), flags, 0o600) } < 0)
}

fn socket(family: i32, kind: i32) -> i32 {
    // SAFETY: plain integers; a socket that opens against expectation leaks until the exit.
    errno_if(unsafe { libc::socket(family, kind, 0) } < 0)
}

fn exec(program: &CStr) -> i32 {
    let arguments = [program.as_ptr(), std::ptr::null()];
    // SAFETY: both arrays end with a null pointer and live until the call returns, which it does only on failure.
    errno_if(
        unsafe {
            libc::execve(
                program.as_ptr(),
                arguments.as_ptr(),
                arguments[1..].as_ptr(),
            )
        } < 0,
    )
}

fn fork() -> i32 {
    // SAFETY: a child born against expectation leaves at once without touching anything.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::_exit(0);
        }
        errno_if(child < 0)
    }
}

fn ptrace() -> i32 {
    // SAFETY: PTRACE_TRACEME takes no pointer that is used.
    errno_if(unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) } < 0)
}

fn kill_parent() -> i32 {
    // SAFETY: signal 0 only asks whether the parent could be signalled.
    errno_if(unsafe { libc::kill(libc::getppid().max(1), 0) } < 0)
}

fn grow() -> i32 {
    // SAFETY: plain integers; the descriptor is open for reading only, if at all.
    errno_if(unsafe { libc::ftruncate(INPUT_FD, 1 << 30) } < 0)
}

fn allocate() -> i32 {
    // SAFETY: a fresh anonymous mapping touches nothing that exists.
    let map = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        libc::mmap(
            std::ptr::null_mut(),
            TOO_MUCH_BYTES,
            libc::PROT_READ,
            flags,
            -1,
            0,
        )
    };
    errno_if(map == libc::MAP_FAILED)
}
