//! The system calls of a run, as strace wrote them down, in order.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// The calls that change files, and those that carry requests and answers.
pub(super) const CALLS: &str = "trace=open,openat,creat,close,dup,dup2,dup3,fcntl,mkdir,mkdirat,rmdir,rename,renameat,renameat2,\
    link,linkat,unlink,unlinkat,symlink,symlinkat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,fallocate,\
    fsync,fdatasync,sync,syncfs,sync_file_range,copy_file_range,splice,sendfile,io_uring_setup,\
    accept,accept4,recvfrom,recvmsg,sendto,sendmsg";

/// One call that did not fail.
#[derive(Debug)]
pub(super) struct Call {
    /// Its line when it began, and when it had ended.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) name: String,
    /// As written, strings in hexadecimal.
    words: Vec<String>,
    pub(super) result: i64,
}

/// Reads a log; calls are in the order in which they ended, and a descriptor is closed when that began.
///
/// The kernel gives the number of a closed descriptor to the next call that asks, and strace may hear of that one's end before it hears of the end of the `close`.
/// Without this the log would close the new file, and its syncs would count for nothing.
pub(super) fn read(path: &Path) -> Vec<Call> {
    let text = fs::read_to_string(path).unwrap();
    let mut calls = Vec::new();
    let mut begun: HashMap<&str, (usize, String)> = HashMap::new();
    for (line, text) in text.lines().enumerate() {
        let Some((task, text)) = text.split_once(' ') else {
            continue;
        };
        let text = text.trim_start();
        if let Some(first) = text.strip_suffix(" <unfinished ...>") {
            begun.insert(task, (line, first.to_owned()));
        } else if let Some((_, rest)) = text
            .strip_prefix("<... ")
            .and_then(|text| text.split_once(" resumed>"))
        {
            if let Some((start, first)) = begun.remove(task) {
                calls.extend(whole(start, line, &format!("{first}{rest}")));
            }
        } else {
            calls.extend(whole(line, line, text));
        }
    }
    calls.sort_by_key(|call| match call.name.as_str() {
        "close" => call.start,
        _ => call.end,
    });
    calls
}

/// Whether the process had ended when the log did.
pub(super) fn is_complete(path: &Path) -> bool {
    let text = fs::read(path).unwrap_or_default();
    let tail = &text[text.len().saturating_sub(200)..];
    let tail = String::from_utf8_lossy(tail);
    let last = tail.lines().last().unwrap_or_default();
    tail.ends_with('\n') && last.contains("+++ ")
}

fn whole(start: usize, end: usize, text: &str) -> Option<Call> {
    let (head, result) = text.rsplit_once(" = ")?;
    let result: i64 = result.split_whitespace().next()?.parse().ok()?;
    let (name, arguments) = head.split_once('(')?;
    let arguments = arguments.trim_end();
    let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
    (result >= 0).then(|| Call {
        start,
        end,
        name: name.to_owned(),
        words: words_of(arguments),
        result,
    })
}

/// Arguments as they are parted by commas; long strings are passed over in one go.
fn words_of(arguments: &str) -> Vec<String> {
    let (mut words, mut from, mut at, mut depth) = (Vec::new(), 0, 0, 0);
    while let Some(letter) = arguments.as_bytes().get(at) {
        match letter {
            b'"' => {
                let string = &arguments[at + 1..];
                at += 1 + string.find('"').unwrap_or(string.len());
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                words.push(arguments[from..at].trim().to_owned());
                from = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    words.push(arguments[from..].trim().to_owned());
    words
}

impl Call {
    /// An argument by its place.
    pub(super) fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }

    pub(super) fn number(&self, at: usize) -> i64 {
        let word = self.word(at);
        word.parse()
            .unwrap_or_else(|_| panic!("{}: `{word}` is no number", self.name))
    }

    /// A path.
    pub(super) fn path(&self, at: usize) -> String {
        String::from_utf8(bytes_of(self.word(at))).unwrap()
    }

    /// All strings of an argument as one: the bytes of a write, cut to what was written.
    pub(super) fn bytes(&self, at: usize) -> Vec<u8> {
        let mut bytes = bytes_of(self.word(at));
        let done = self.result as usize;
        assert!(
            bytes.len() >= done,
            "{}: strace has cut a string",
            self.name
        );
        bytes.truncate(done);
        bytes
    }

    /// The first bytes of an argument.
    pub(super) fn head(&self, at: usize, most: usize) -> Vec<u8> {
        let word = self.word(at);
        let from = word.find('"').unwrap_or(word.len());
        let most = (from + 1 + 4 * most).min(word.len());
        bytes_of(&word[from..most])
    }
}

fn bytes_of(word: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len() / 4);
    for quoted in word.split('"').skip(1).step_by(2) {
        // `\x2f\x74…`
        let letters = quoted.as_bytes().chunks_exact(4);
        bytes.extend(letters.map(|four| digit(four[2]) * 16 + digit(four[3])));
    }
    bytes
}

fn digit(letter: u8) -> u8 {
    match letter {
        b'0'..=b'9' => letter - b'0',
        b'a'..=b'f' => letter - b'a' + 10,
        other => panic!("`{}` is no hexadecimal digit", other as char),
    }
}
