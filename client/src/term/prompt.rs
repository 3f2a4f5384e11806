//! Questions to a person at a terminal; secrets are not echoed.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
};

/// The longest answer that is taken.
const MAX_ANSWER_BYTES: usize = 4096;

/// A question was not answered.
#[derive(Debug)]
pub enum NoAnswer {
    /// There is nobody to ask.
    NoTerminal,
    /// Ctrl-C or Ctrl-D.
    Interrupted,
    /// The terminal failed.
    Failed(io::Error),
}

impl From<io::Error> for NoAnswer {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Asks for a line. The terminal itself is used, so that pipes stay out of it.
pub fn ask(question: &str, hidden: bool) -> Result<String, NoAnswer> {
    let open = || OpenOptions::new().read(true).write(true).open("/dev/tty");
    let mut tty = open().map_err(|_| NoAnswer::NoTerminal)?;
    write!(tty, "{question}")?;
    tty.flush()?;
    let guard = Raw::enter(tty.try_clone()?)?;
    let answer = read_line(&mut tty, hidden);
    drop(guard);
    writeln!(tty)?;
    answer
}

fn read_line(tty: &mut File, hidden: bool) -> Result<String, NoAnswer> {
    let mut answer = Vec::new();
    let mut byte = [0];
    loop {
        if tty.read(&mut byte)? == 0 {
            return Err(NoAnswer::Interrupted);
        }
        match byte[0] {
            b'\r' | b'\n' => return Ok(String::from_utf8_lossy(&answer).trim().to_owned()),
            3 => return Err(NoAnswer::Interrupted),
            4 if answer.is_empty() => return Err(NoAnswer::Interrupted),
            8 | 127 => {
                if let Some(character) = pop_character(&mut answer)
                    && !hidden
                {
                    let _ = character;
                    write!(tty, "\x08 \x08")?;
                }
            }
            21 => {
                while pop_character(&mut answer).is_some() {
                    if !hidden {
                        write!(tty, "\x08 \x08")?;
                    }
                }
            }
            0..32 => {}
            b if answer.len() < MAX_ANSWER_BYTES => {
                answer.push(b);
                if !hidden {
                    tty.write_all(&[b])?;
                }
            }
            _ => {}
        }
    }
}

/// Takes the last character off, however many bytes it has.
fn pop_character(answer: &mut Vec<u8>) -> Option<u8> {
    while let Some(byte) = answer.pop() {
        if byte & 0xC0 != 0x80 {
            return Some(byte);
        }
    }
    None
}

/// The terminal without echo, lines and signals, until dropped: so Ctrl-C cannot leave it that way.
struct Raw {
    tty: File,
    before: Termios,
}

impl Raw {
    fn enter(tty: File) -> io::Result<Self> {
        let before = tcgetattr(&tty)?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(&tty, OptionalActions::Flush, &quiet)?;
        Ok(Self { tty, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.tty, OptionalActions::Drain, &self.before);
    }
}
