//! How long a failed job rests before its next attempt.

use crate::kernel::{JobId, Millis};

/// The pause after the first failure.
const FIRST_MS: Millis = 2_000;
/// No pause is longer.
const LONGEST_MS: Millis = 5 * 60_000;
/// Up to this part of a pause is added, so that jobs that failed together do not return together.
const JITTER_DIVISOR: Millis = 4;

/// Milliseconds between a failure of attempt `attempt` (from 1) and the next attempt: doubling from two seconds to five minutes, and up to a quarter more.
///
/// The jitter follows from the job's id and the attempt, so that a repeated report gives the same time.
pub fn retry_delay_ms(id: JobId, attempt: u32) -> Millis {
    let doublings = attempt.saturating_sub(1).min(16);
    let pause_ms = (FIRST_MS << doublings).min(LONGEST_MS);
    let bytes = id.0.as_bytes();
    let seed = u16::from_le_bytes([bytes[0], bytes[1]]).wrapping_mul(attempt as u16 | 1);
    pause_ms + Millis::from(seed) % (pause_ms / JITTER_DIVISOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let id = JobId(crate::kernel::Id::from_bytes([7; 16]));
        for attempt in 0..40_u32 {
            let pause_ms = FIRST_MS << attempt.clamp(1, 9).saturating_sub(1);
            let delay_ms = retry_delay_ms(id, attempt);
            assert!(
                delay_ms >= pause_ms.min(LONGEST_MS),
                "{attempt}: {delay_ms}"
            );
            assert!(delay_ms < LONGEST_MS * 5 / 4, "{attempt}: {delay_ms}");
        }
        assert_eq!(retry_delay_ms(id, 3), retry_delay_ms(id, 3));
    }
}
