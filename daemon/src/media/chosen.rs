//! Which way films are encoded on this machine, and why that way, for those who ask.

use std::fmt::Write as _;
use std::sync::Arc;

use nebula_hwaccel::choice;
use nebula_hwaccel::protocol::{Acceleration, ProbeReport};
use tokio::sync::OnceCell;

/// What a worker chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub(super) acceleration: Acceleration,
    /// What was tried and how it ended.
    pub reason: String,
}

/// Empty until the first film needed an encoder; a cheap handle on what the slots of one worker share.
#[derive(Debug, Clone, Default)]
pub struct ChosenHardware(pub(super) Arc<OnceCell<Chosen>>);

impl ChosenHardware {
    /// What was chosen, once somebody tried.
    pub fn get(&self) -> Option<&Chosen> {
        self.0.get()
    }
}

impl Chosen {
    /// Nothing was tried: the configuration names the CPU.
    pub(super) fn configured() -> Self {
        Self {
            acceleration: Acceleration::Software,
            reason: "The configuration asks for software.".into(),
        }
    }

    /// The best of what was tried.
    pub(super) fn tried(acceleration: Acceleration, report: &ProbeReport) -> Self {
        let mut reason = String::new();
        for entry in &report.entries {
            let name = choice::name(&entry.acceleration);
            let verdict = if entry.ok { "works" } else { "does not work" };
            let gap = if reason.is_empty() { "" } else { "; " };
            write!(reason, "{gap}{name} {verdict}: {}", entry.reason)
                .expect("a String takes every write");
        }
        if reason.is_empty() {
            reason.push_str("No hardware encoder was found.");
        }
        Self {
            acceleration,
            reason,
        }
    }

    /// `qsv`, `vaapi` or `software`.
    pub fn word(&self) -> &'static str {
        choice::name(&self.acceleration)
    }

    /// The render node, where there is one.
    pub fn device(&self) -> Option<&str> {
        match &self.acceleration {
            Acceleration::Software => None,
            Acceleration::Vaapi { device } | Acceleration::Qsv { device } => Some(device),
        }
    }
}
