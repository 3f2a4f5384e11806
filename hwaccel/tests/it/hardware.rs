//! Choice and fallback with a driver that lists what it likes and then fails; see `tests/fake_va_driver.c`.

use std::path::{Path, PathBuf};
use std::process::Command;

use nebula_hwaccel::choice;
use nebula_hwaccel::protocol::{Acceleration, FromWorker, Job, ProbeReport};

use crate::films;
use crate::ladder::{examine, spec};
use crate::worker::{Bytes, Worker, index};

/// Any character device will do for a render node, with the preloaded stand-in.
const NODE: &str = "/dev/null";
/// H.264 high and HEVC main: decode (1), encode (6) and low-power encode (8); video processing (-1: none, 10).
const FIXTURE: &str = "7 1\n7 6\n7 8\n6 1\n6 6\n17 1\n17 6\n-1 10\n";

/// The fake driver, built by `cc`; absent (and loudly) without compiler or headers.
struct Fake {
    folder: tempfile::TempDir,
    shim: PathBuf,
    fixture: PathBuf,
}

fn compile(source: &str, out: &Path) -> bool {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(source);
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(out)
        .arg(source)
        .output();
    match built {
        Ok(done) if done.status.success() => true,
        Ok(done) => {
            println!(
                "SKIPPED: the fake driver needs libva-dev: {}",
                String::from_utf8_lossy(&done.stderr)
            );
            false
        }
        Err(error) => {
            println!("SKIPPED: the fake driver needs cc: {error}");
            false
        }
    }
}

impl Fake {
    fn build() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let shim = folder.path().join("node.so");
        let fixture = folder.path().join("fixture");
        std::fs::write(&fixture, FIXTURE).expect("room");
        let built = compile("fake_va_driver.c", &folder.path().join("fake_drv_video.so"))
            && compile("fake_render_node.c", &shim);
        built.then_some(Self {
            folder,
            shim,
            fixture,
        })
    }

    fn spawn(&self, bytes: &Bytes<'_>, job: Job) -> Worker {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let (drivers, shim, fixture) = (
            text(self.folder.path()),
            text(&self.shim),
            text(&self.fixture),
        );
        let environment = [
            ("LIBVA_DRIVERS_PATH", drivers.as_str()),
            ("LIBVA_DRIVER_NAME", "fake"),
            ("LIBVA_MESSAGING_LEVEL", "0"),
            ("LD_PRELOAD", shim.as_str()),
            ("NEBULA_FAKE_VA", fixture.as_str()),
        ];
        Worker::spawn_with(bytes, job, &environment)
    }
}

fn probe(worker: Worker) -> ProbeReport {
    let said = worker.finish();
    match said.others.as_slice() {
        [FromWorker::Probe(report)] => report.clone(),
        other => panic!("{other:?} {:?}", said.failed),
    }
}

#[test]
fn without_a_gpu_software_is_found_and_chosen() {
    let report = probe(Worker::spawn(
        &Bytes::None,
        Job::Probe {
            devices: vec!["/dev/dri/none".into()],
        },
    ));
    println!("{report:#?}");
    assert_eq!(report.entries.len(), 3);
    assert!(
        report.entries[..2]
            .iter()
            .all(|entry| !entry.ok && !entry.reason.is_empty())
    );
    assert!(report.entries[2].ok, "{}", report.entries[2].reason);
    assert_eq!(choice::best(&report), Acceleration::Software);
}

#[test]
fn a_driver_that_lists_but_cannot_is_found_out() {
    let Some(fake) = Fake::build() else { return };
    let report = probe(fake.spawn(
        &Bytes::None,
        Job::Probe {
            devices: vec![NODE.into()],
        },
    ));
    println!("{report:#?}");
    let [qsv, vaapi, software] = report.entries.as_slice() else {
        panic!("three ways")
    };
    assert!(matches!(qsv.acceleration, Acceleration::Qsv { .. }) && !qsv.ok);
    assert!(matches!(vaapi.acceleration, Acceleration::Vaapi { .. }) && !vaapi.ok);
    assert_eq!(
        vaapi.driver.as_deref(),
        Some("fake driver of the tests"),
        "the driver was really loaded"
    );
    assert!(software.ok);
    assert_eq!(choice::best(&report), Acceleration::Software);
}

#[test]
fn a_ladder_falls_back_to_software() {
    let Some(fake) = Fake::build() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("film.mp4");
    if !films::film(&path, 6, &[]) {
        return;
    }
    let mut spec = spec(&index(&path).media(), &[240], 2.0);
    for wish in [
        Acceleration::Qsv {
            device: NODE.into(),
        },
        Acceleration::Vaapi {
            device: NODE.into(),
        },
    ] {
        spec.acceleration = wish.clone();
        let said = fake
            .spawn(&Bytes::Fd(&path), Job::Ladder(spec.clone()))
            .finish();
        let summary = said
            .done
            .as_ref()
            .unwrap_or_else(|| panic!("{:?}", said.failed));
        println!("{:?}", summary.notes);
        assert!(
            summary
                .notes
                .iter()
                .any(|note| note.contains("going on with software"))
        );
        assert!(
            said.inits
                .iter()
                .all(|init| init.acceleration == Acceleration::Software)
        );
        examine(&path, &spec, &said, folder.path());
    }
}
