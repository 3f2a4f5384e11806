//! What must not be possible from inside is not.

use nebula_hwaccel::protocol::{FromWorker, Job, Landlock};

use crate::worker::{Bytes, Worker};

#[test]
fn nothing_forbidden_is_possible_inside() {
    let said = Worker::spawn(&Bytes::None, Job::Selftest).finish();
    let [FromWorker::Selftest(report)] = said.others.as_slice() else {
        panic!("{said:?}")
    };
    println!("{report:?}");
    for (act, errno) in [
        ("open", report.open),
        ("create", report.create),
        ("connect", report.connect),
        ("unix socket", report.unix_socket),
        ("exec", report.exec),
        ("fork", report.fork),
        ("ptrace", report.ptrace),
        ("kill the parent", report.kill_parent),
        ("grow a file", report.grow),
        ("allocate without end", report.allocate),
    ] {
        assert_ne!(errno, 0, "it could {act}");
    }
    let sandbox = said.sandbox.expect("hello");
    assert!(sandbox.system_calls < 50);
    assert_eq!(
        sandbox.landlock == Landlock::Full,
        sandbox.note.is_none(),
        "a weaker sandbox is told"
    );
    if sandbox.landlock != Landlock::Full {
        println!("SKIPPED: landlock on this kernel: {:?}", sandbox.note);
    }
}
