//! How a file is cut, and which part goes first.
//!
//! A short file is one upload.
//! A longer one is cut into parts that several lanes carry at once; the parts are smaller than a lane's share, so that the number of lanes can change on the way.
//! An mp4 whose index (`moov`) lies at its end is cut there, and its tail goes first: with it and the beginning a player can start while the rest is on its way.

use super::source::Source;
use crate::Error;

const MIB: u64 = 1 << 20;
/// Files from here on are sent in parts.
pub(super) const PARTS_FROM_BYTES: u64 = 64 * MIB;
/// Films from here on are worth a cut before their index.
const TAIL_FIRST_FROM_BYTES: u64 = 8 * MIB;
/// The least that a part carries.
const PART_BYTES: u64 = 32 * MIB;
/// About the most parts of a file.
const MOST_PARTS: u64 = 64;
/// No more boxes than this are looked at before an index.
const MOST_BOXES: usize = 64;

/// Where each part begins and how long it is, and in which order they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) parts: Vec<(u64, u64)>,
    pub(super) order: Vec<usize>,
}

impl Plan {
    /// Cuts a file for so many lanes; for one alone it stays whole.
    pub(super) fn of(size_bytes: u64, index_at: Option<u64>, lanes: u32) -> Self {
        if lanes <= 1 {
            return Self::again(vec![(0, size_bytes)], None);
        }
        let index_at = index_at
            .map(|at| at / MIB * MIB)
            .filter(|at| *at > 0 && *at < size_bytes && size_bytes >= TAIL_FIRST_FROM_BYTES);
        if size_bytes < PARTS_FROM_BYTES && index_at.is_none() {
            return Self::again(vec![(0, size_bytes)], None);
        }
        let part = (size_bytes / MOST_PARTS)
            .next_multiple_of(MIB)
            .max(PART_BYTES);
        let mut parts = Vec::new();
        let mut cut = |from: u64, to: u64| {
            let mut at = from;
            while at < to {
                let length = part.min(to - at);
                parts.push((at, length));
                at += length;
            }
        };
        match index_at {
            Some(at) => {
                cut(0, at);
                cut(at, size_bytes);
            }
            None => cut(0, size_bytes),
        }
        Self::again(parts, index_at)
    }

    /// The plan of parts that were cut before.
    pub(super) fn again(parts: Vec<(u64, u64)>, index_at: Option<u64>) -> Self {
        let is_tail = |n: &usize| index_at.is_some_and(|at| parts[*n].0 >= at / MIB * MIB);
        let (mut order, rest): (Vec<_>, Vec<_>) = (0..parts.len()).partition(is_tail);
        order.extend(rest);
        Self { parts, order }
    }
}

/// Where the index of an mp4 begins, when its media come before it (ISO 14496-12, §4.2 and §8.2.1).
pub(super) async fn index_behind_media(source: &Source) -> Result<Option<u64>, Error> {
    if source.size_bytes() < TAIL_FIRST_FROM_BYTES {
        return Ok(None);
    }
    let source = source.clone();
    super::blocking(move || {
        let size = source.size_bytes();
        let (mut at, mut media) = (0_u64, false);
        for number in 0..MOST_BOXES {
            let mut head = [0; 16];
            if at + 16 > size {
                break;
            }
            source.read_exact_at(&mut head, at)?;
            let (short, rest) = head.split_at(4);
            let kind = &rest[..4];
            if number == 0 && kind != b"ftyp" {
                break;
            }
            let length = match short {
                [0, 0, 0, 0] => size - at,
                [0, 0, 0, 1] => u64::from_be_bytes(rest[4..].try_into().unwrap_or_default()),
                short => u64::from(u32::from_be_bytes(short.try_into().unwrap_or_default())),
            };
            match kind {
                b"moov" => return Ok(media.then_some(at)),
                b"mdat" => media = true,
                _ => {}
            }
            match at.checked_add(length) {
                Some(next) if length >= 8 && next < size => at = next,
                _ => break,
            }
        }
        Ok(None)
    })
    .await
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn parts_cover_the_file_without_a_gap() {
        for size in [0, 1, 5 * MIB, 64 * MIB, 300 * MIB + 7, 900 << 30] {
            for index_at in [None, Some(3 * MIB + 5), Some(size.saturating_sub(MIB / 2))] {
                let plan = Plan::of(size, index_at, 8);
                let mut at = 0;
                for (start, length) in &plan.parts {
                    assert_eq!((*start, start % MIB), (at, 0), "{size} {index_at:?}");
                    at += length;
                }
                assert_eq!(at, size);
                assert!(plan.parts.len() <= 70, "{}", plan.parts.len());
                let mut order = plan.order.clone();
                order.sort_unstable();
                assert_eq!(order, (0..plan.parts.len()).collect::<Vec<_>>());
            }
        }
        assert_eq!(Plan::of(5 * MIB, None, 8).parts, [(0, 5 * MIB)]);
        let film = Plan::of(100 * MIB, Some(97 * MIB + 3), 8);
        let whole = Plan::of(100 * MIB, Some(97 * MIB + 3), 1);
        assert_eq!(whole.parts, [(0, 100 * MIB)]);
        assert_eq!(film.parts.last(), Some(&(97 * MIB, 3 * MIB)));
        assert_eq!(film.order, [4, 0, 1, 2, 3]);
    }

    async fn index_of(boxes: &[(&[u8; 4], u64)]) -> Option<u64> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("film.mp4");
        let file = std::fs::File::create(&path).unwrap();
        let mut at = 0;
        for (kind, length) in boxes {
            use std::os::unix::fs::FileExt as _;
            let mut head = [0; 16];
            head[4..8].copy_from_slice(*kind);
            if let Ok(short) = u32::try_from(*length).map(u32::to_be_bytes) {
                head[..4].copy_from_slice(&short);
            } else {
                head[3] = 1;
                head[8..].copy_from_slice(&length.to_be_bytes());
            }
            file.write_all_at(&head, at).unwrap();
            at += length;
        }
        file.set_len(at).unwrap();
        let source = Source::open(&path).await.unwrap();
        index_behind_media(&source).await.unwrap()
    }

    #[tokio::test]
    async fn an_index_behind_the_media_is_found() {
        let ftyp = (b"ftyp", 32);
        let found = index_of(&[ftyp, (b"mdat", 20 * MIB), (b"moov", MIB)]).await;
        assert_eq!(found, Some(32 + 20 * MIB));
        let long = index_of(&[ftyp, (b"free", 8), (b"mdat", 5 << 30), (b"moov", 99)]).await;
        assert_eq!(long, Some(40 + (5 << 30)));
        let first = index_of(&[ftyp, (b"moov", MIB), (b"mdat", 20 * MIB)]).await;
        assert_eq!(first, None);
        assert_eq!(index_of(&[(b"RIFF", 20 * MIB), (b"moov", MIB)]).await, None);
        assert_eq!(index_of(&[ftyp, (b"mdat", 20 * MIB)]).await, None);
    }
}
