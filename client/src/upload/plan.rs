//! How a file is cut, and which part goes first.
//!
//! A short file is one upload.
//! A longer one is cut into parts that several lanes carry at once; the parts are smaller than a lane's share, so that the number of lanes can change on the way.
//! What can be played while it arrives begins with small parts, each at most a sixteenth of what lies before it:
//! lanes beside each other then run ahead of the first gap by less than two thirds of what is before it, and a player follows close behind.
//! An mp4 whose index (`moov`) lies at its end is cut there, and its tail goes first: with it and the beginning a player can start while the rest is on its way.

use super::source::Source;
use crate::Error;

const MIB: u64 = 1 << 20;
/// Files from here on are sent in parts.
pub(super) const PARTS_FROM_BYTES: u64 = 64 * MIB;
/// Films from here on are worth a cut before their index.
const TAIL_FIRST_FROM_BYTES: u64 = 8 * MIB;
/// The least that a part carries, but for those at the beginning of a film.
const PART_BYTES: u64 = 32 * MIB;
/// The least that a part at the beginning of a film carries.
const FIRST_PART_BYTES: u64 = 4 * MIB;
/// How much of what lies before it a part at the beginning of a film may be.
const SHARE_OF_FRONT: u64 = 16;
/// About the most parts of a file; the beginning of a film has as many again.
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
    /// Cuts a file for so many lanes; for one alone it is cut before its index only.
    pub(super) fn of(size_bytes: u64, index_at: Option<u64>, is_film: bool, lanes: u32) -> Self {
        let index_at = index_at
            .map(|at| at / MIB * MIB)
            .filter(|at| *at > 0 && *at < size_bytes && size_bytes >= TAIL_FIRST_FROM_BYTES);
        let most = match lanes {
            0 | 1 => u64::MAX,
            _ if size_bytes < PARTS_FROM_BYTES => u64::MAX,
            _ => (size_bytes / MOST_PARTS)
                .next_multiple_of(MIB)
                .max(PART_BYTES),
        };
        let length_at = |at: u64| {
            if is_film && most < u64::MAX {
                (at / SHARE_OF_FRONT / MIB * MIB).clamp(FIRST_PART_BYTES, most)
            } else {
                most
            }
        };
        let mut parts = Vec::new();
        let mut cut = |from: u64, to: u64| {
            let mut at = from;
            while at < to {
                let length = length_at(at).min(to - at);
                parts.push((at, length));
                at += length;
            }
        };
        match index_at {
            Some(at) => {
                cut(0, at);
                cut(at, size_bytes);
            }
            // An empty file is an upload too.
            None if size_bytes == 0 => parts.push((0, 0)),
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
        for (is_film, most) in [(false, 70), (true, 210)] {
            for size in [0, 1, 5 * MIB, 64 * MIB, 300 * MIB + 7, 20 << 30, 900 << 30] {
                for index_at in [None, Some(3 * MIB + 5), Some(size.saturating_sub(MIB / 2))] {
                    let plan = Plan::of(size, index_at, is_film, 8);
                    let mut at = 0;
                    for (start, length) in &plan.parts {
                        assert_eq!((*start, start % MIB), (at, 0), "{size} {index_at:?}");
                        at += length;
                    }
                    assert_eq!(at, size);
                    assert!(plan.parts.len() <= most, "{}", plan.parts.len());
                    let mut order = plan.order.clone();
                    order.sort_unstable();
                    assert_eq!(order, (0..plan.parts.len()).collect::<Vec<_>>());
                }
            }
        }
        assert_eq!(Plan::of(5 * MIB, None, true, 8).parts, [(0, 5 * MIB)]);
        assert_eq!(Plan::of(0, None, true, 8).parts, [(0, 0)]);
        let index_at = Some(97 * MIB + 3);
        let tail = Some(&(97 * MIB, 3 * MIB));
        let whole = Plan::of(100 * MIB, index_at, true, 1);
        assert_eq!((whole.parts.last(), &whole.order[..]), (tail, &[1, 0][..]));
        let lanes = Plan::of(100 * MIB, index_at, false, 8);
        assert_eq!(
            (lanes.parts.last(), &lanes.order[..]),
            (tail, &[4, 0, 1, 2, 3][..])
        );
    }

    #[test]
    fn lanes_of_a_film_stay_close_to_its_first_gap() {
        let plan = Plan::of(30 << 30, None, true, 8);
        for parts in plan.parts.windows(8) {
            let (front, (last, length)) = (parts[0].0, parts[7]);
            let ahead = last + length - front;
            assert!(
                ahead <= (front / 2 + front / 8).max(40 * MIB),
                "{ahead} at {front}"
            );
        }
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
