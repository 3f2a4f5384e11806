//! `nebula-worker`: one sandboxed media job. See the introduction of the library.

fn main() {}
