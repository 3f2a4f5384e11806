//! Which way to encode, from what a probe saw. Pure, so that every driver's habits can be a table in a test.

use crate::protocol::{Acceleration, ProbeReport};

/// How many ways there are: the length of the longest [`fallbacks`] list.
pub const WAYS: usize = 3;

/// The best way that worked: Quick Sync, else VA-API, else software.
pub fn best(report: &ProbeReport) -> Acceleration {
    report
        .entries
        .iter()
        .filter(|entry| entry.ok)
        .map(|entry| &entry.acceleration)
        .min_by_key(|acceleration| rank(acceleration))
        .cloned()
        .unwrap_or(Acceleration::Software)
}

/// What to try in turn, beginning with the wish and ending with software.
pub fn fallbacks(wish: &Acceleration) -> Vec<Acceleration> {
    let mut ways = vec![wish.clone()];
    if let Acceleration::Qsv { device } = wish {
        ways.push(Acceleration::Vaapi {
            device: device.clone(),
        });
    }
    if *wish != Acceleration::Software {
        ways.push(Acceleration::Software);
    }
    ways
}

/// One word for logs and metrics: `qsv`, `vaapi` or `software`.
pub fn name(acceleration: &Acceleration) -> &'static str {
    match acceleration {
        Acceleration::Qsv { .. } => "qsv",
        Acceleration::Vaapi { .. } => "vaapi",
        Acceleration::Software => "software",
    }
}

fn rank(acceleration: &Acceleration) -> u8 {
    match acceleration {
        Acceleration::Qsv { .. } => 0,
        Acceleration::Vaapi { .. } => 1,
        Acceleration::Software => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ProbeEntry;

    const NODE: &str = "/dev/dri/renderD128";

    fn entry(acceleration: Acceleration, ok: bool) -> ProbeEntry {
        ProbeEntry {
            acceleration,
            ok,
            driver: None,
            reason: String::new(),
            took_ms: 0,
        }
    }

    #[test]
    fn the_best_that_worked_is_taken() {
        let qsv = Acceleration::Qsv {
            device: NODE.into(),
        };
        let vaapi = Acceleration::Vaapi {
            device: NODE.into(),
        };
        let table = [
            ((true, true, true), qsv.clone()),
            ((false, true, true), vaapi.clone()),
            ((false, false, true), Acceleration::Software),
            ((false, false, false), Acceleration::Software),
        ];
        for ((q, v, s), expected) in table {
            let entries = vec![
                entry(Acceleration::Software, s),
                entry(vaapi.clone(), v),
                entry(qsv.clone(), q),
            ];
            assert_eq!(best(&ProbeReport { entries }), expected);
        }
    }

    #[test]
    fn every_fallback_ends_in_software() {
        let device = || NODE.to_owned();
        for wish in [
            Acceleration::Qsv { device: device() },
            Acceleration::Vaapi { device: device() },
            Acceleration::Software,
        ] {
            let ways = fallbacks(&wish);
            assert_eq!(ways.first(), Some(&wish));
            assert_eq!(ways.last(), Some(&Acceleration::Software));
            assert!(ways.len() <= WAYS);
        }
    }
}
