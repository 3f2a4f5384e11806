//! Numbers as bytes: LEB128, zigzag, and a column of numbers in the smallest of four codings.

use super::IndexError;

const RUNS: u8 = 0;
const DICTIONARY: u8 = 1;
const SIGNED: u8 = 2;
const UNSIGNED: u8 = 3;

/// Reads from bytes that may be hostile.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, IndexError> {
        let (first, rest) = self
            .rest
            .split_first()
            .ok_or(IndexError::Damaged("it ends too early"))?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], IndexError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(IndexError::Damaged("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn unsigned(&mut self) -> Result<u64, IndexError> {
        // Nearly all are this short, and a film has a million of them.
        match *self.rest {
            [first, ref rest @ ..] if first < 0x80 => {
                self.rest = rest;
                Ok(u64::from(first))
            }
            [first, second, ref rest @ ..] if second < 0x80 => {
                self.rest = rest;
                Ok(u64::from(first & 0x7f) | u64::from(second) << 7)
            }
            _ => self.long(),
        }
    }

    fn long(&mut self) -> Result<u64, IndexError> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(IndexError::Damaged("a number is too long"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, IndexError> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Bytes behind their length.
    pub(super) fn section(&mut self) -> Result<&'a [u8], IndexError> {
        let length = usize::try_from(self.unsigned()?)
            .map_err(|_| IndexError::Damaged("it ends too early"))?;
        self.take(length)
    }

    /// A column of exactly `count` numbers, each handed to `each` with its place.
    pub(super) fn column(
        &mut self,
        count: usize,
        mut each: impl FnMut(usize, i64) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        match self.byte()? {
            RUNS => {
                let mut at = 0;
                while at < count {
                    let run = self.unsigned()?;
                    let value = self.signed()?;
                    if run == 0 || run > (count - at) as u64 {
                        return Err(IndexError::Damaged("a run has a wrong length"));
                    }
                    for _ in 0..run {
                        each(at, value)?;
                        at += 1;
                    }
                }
            }
            DICTIONARY => {
                let words = usize::from(self.byte()?);
                let mut dictionary = [0i64; 256];
                for word in &mut dictionary[..words] {
                    *word = self.signed()?;
                }
                for (at, &word) in self.take(count)?.iter().enumerate() {
                    if usize::from(word) >= words {
                        return Err(IndexError::Damaged("a word is not in the dictionary"));
                    }
                    each(at, dictionary[usize::from(word)])?;
                }
            }
            SIGNED => {
                for at in 0..count {
                    let value = self.signed()?;
                    each(at, value)?;
                }
            }
            UNSIGNED => {
                for at in 0..count {
                    let value = i64::try_from(self.unsigned()?)
                        .map_err(|_| IndexError::Damaged("a number is too large"))?;
                    each(at, value)?;
                }
            }
            _ => return Err(IndexError::Damaged("an unknown column coding")),
        }
        Ok(())
    }
}

pub(super) fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(super) fn put_section(out: &mut Vec<u8>, bytes: &[u8]) {
    put_unsigned(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A column in whichever coding is smallest.
pub(super) fn put_column(out: &mut Vec<u8>, values: &[i64]) {
    let mut best = runs(values);
    for other in [dictionary(values), Some(signed(values)), unsigned(values)]
        .into_iter()
        .flatten()
    {
        if other.len() < best.len() {
            best = other;
        }
    }
    out.extend_from_slice(&best);
}

fn runs(values: &[i64]) -> Vec<u8> {
    let mut out = vec![RUNS];
    for run in values.chunk_by(|a, b| a == b) {
        put_unsigned(&mut out, run.len() as u64);
        put_signed(&mut out, run[0]);
    }
    out
}

fn dictionary(values: &[i64]) -> Option<Vec<u8>> {
    let mut words: Vec<i64> = Vec::new();
    let mut places = Vec::with_capacity(values.len());
    for value in values {
        let place = words
            .iter()
            .position(|word| word == value)
            .unwrap_or_else(|| {
                words.push(*value);
                words.len() - 1
            });
        places.push(u8::try_from(place).ok().filter(|place| *place < u8::MAX)?);
    }
    let mut out = vec![DICTIONARY, words.len() as u8];
    for word in words {
        put_signed(&mut out, word);
    }
    out.extend_from_slice(&places);
    Some(out)
}

fn signed(values: &[i64]) -> Vec<u8> {
    let mut out = vec![SIGNED];
    for value in values {
        put_signed(&mut out, *value);
    }
    out
}

fn unsigned(values: &[i64]) -> Option<Vec<u8>> {
    let mut out = vec![UNSIGNED];
    for value in values {
        put_unsigned(&mut out, u64::try_from(*value).ok()?);
    }
    Some(out)
}
