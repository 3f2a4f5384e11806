//! What this process used.

use std::time::Instant;

use nebula_hwaccel::protocol::Summary;

pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn finish(&self, summary: &mut Summary) {
        summary.wall_ms = self.0.elapsed().as_millis() as u64;
        // SAFETY: an all-zero rusage is valid, and getrusage only writes into the struct it is given.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
            usage
        };
        let millis = |time: libc::timeval| time.tv_sec as u64 * 1000 + time.tv_usec as u64 / 1000;
        summary.cpu_ms = millis(usage.ru_utime) + millis(usage.ru_stime);
        summary.memory_bytes_peak = usage.ru_maxrss as u64 * 1024;
    }
}
