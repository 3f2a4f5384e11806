//! Players of people's own: ffplay and VLC read every sample of what is cut from the file, without an error.

use std::path::Path;
use std::process::Stdio;

use nebula_api::AssetState;
use nebula_tests::within;
use tokio::process::Command;

use super::{House, LIMIT, films, name, probe};

/// Nine seconds of H.264 with B-frames, and AAC: ffplay plays them in their own time.
const FILM: &str = "x-plain.mov";
/// Who VLC runs as where the tests run as root, which it refuses.
const NOBODY: &str = "65534";

/// Pictures and sounds of a file, by the kind that ffprobe names.
async fn samples(file: &Path) -> (usize, usize) {
    let told = probe::packets(file.to_str().unwrap()).await;
    let of = |kind: &str| {
        let is = |stream: u64| told.streams[stream as usize].0 == kind;
        told.packets.iter().filter(|one| is(one.stream)).count()
    };
    (of("video"), of("audio"))
}

async fn house() -> Option<(House, std::path::PathBuf)> {
    let film = films::FILMS.iter().find(|film| film.name == FILM).unwrap();
    let film = films::ready(film)?;
    let house = House::with(std::slice::from_ref(&film)).await;
    assert_eq!(house.looked_at(name(&film)).await, AssetState::Ready);
    Some((house, film))
}

/// The same film behind three doors.
fn addresses(house: &House) -> [String; 3] {
    let file = house.address(FILM, "");
    let file = file.trim_end_matches('/').replacen("/hls/", "/file/", 1);
    [
        house.address(FILM, "master.m3u8"),
        house.address(FILM, "manifest.mpd"),
        file,
    ]
}

#[tokio::test]
async fn ffplay_shows_every_picture_without_an_error() {
    within(LIMIT, async {
        let Some((house, film)) = house().await else {
            return;
        };
        let (pictures, sounds) = samples(&film).await;
        let mut players = Vec::new();
        for address in addresses(&house) {
            let player = Command::new("ffplay")
                .args(["-v", "level+info", "-autoexit", "-noframedrop"])
                .args(["-vf", "showinfo", "-af", "ashowinfo", "-i", &address])
                .env("SDL_VIDEODRIVER", "dummy")
                .env("SDL_AUDIODRIVER", "dummy")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn();
            let Ok(player) = player else {
                println!("SKIPPED: ffplay is not installed (apt-get install ffmpeg)");
                return;
            };
            players.push((address, player));
        }
        // All at once, as each takes as long as the film.
        for (address, player) in players {
            let done = player.wait_with_output().await.unwrap();
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{address}: {said}");
            let lines = || said.split(['\n', '\r']);
            let wrong: Vec<&str> = lines()
                .filter(|line| line.contains("[error]") || line.contains("[fatal]"))
                .collect();
            assert!(wrong.is_empty(), "{address}: {wrong:?}");
            // Said once of each; lines of the two filters run into each other, as each writes its own in pieces.
            let heard = said.matches(" nb_samples:").count();
            let seen = said.matches(" iskey:").count();
            println!(
                "ffplay: {seen} of {pictures} pictures, {heard} of {sounds} sounds: {address}"
            );
            assert_eq!(seen, pictures, "{address}");
            // The priming of the encoder is decoded and not heard.
            assert!(
                (sounds - 2..=sounds).contains(&heard),
                "{address}: {heard} of {sounds}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn vlc_reads_every_sample_without_an_error() {
    within(LIMIT, async {
        let vlc = Path::new("/usr/bin/vlc");
        if !vlc.exists() {
            println!("SKIPPED: VLC is not installed (apt-get install --no-install-recommends vlc-bin vlc-plugin-base)");
            return;
        }
        let Some((house, film)) = house().await else {
            return;
        };
        // At the end it leaves a few samples unwritten, also of a file beside it: that is the measure.
        let (pictures, sounds) = written(vlc, film.to_str().unwrap()).await;
        let (all, _) = samples(&film).await;
        assert!(pictures + 2 >= all, "{pictures} of {all}");
        for address in addresses(&house) {
            let (seen, heard) = written(vlc, &address).await;
            println!("VLC: {seen} of {pictures} pictures, {heard} of {sounds} sounds: {address}");
            assert!(seen >= pictures && heard >= sounds, "{address}: {seen}, {heard}");
        }
    })
    .await;
}

/// What VLC reads of an address, it writes down again as it is, as fast as it can; an error of its own ends the test.
async fn written(vlc: &Path, address: &str) -> (usize, usize) {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out.mp4");
    let mut address = address.to_owned();
    if !address.contains("://") {
        // Where everybody may read it.
        let copy = place.path().join(FILM);
        std::fs::copy(&address, &copy).unwrap();
        address = copy.to_str().unwrap().to_owned();
    }
    let mut command = if rustix::process::getuid().is_root() {
        let user = NOBODY.parse().ok();
        std::os::unix::fs::chown(place.path(), user, user).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        command.arg(vlc);
        command
    } else {
        Command::new(vlc)
    };
    let done = command
        .args([
            "-I",
            "dummy",
            "--aout",
            "dummy",
            "--play-and-exit",
            "--sout",
        ])
        .arg(format!("#std{{access=file,mux=mp4,dst={}}}", out.display()))
        .arg(&address)
        .env("HOME", place.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{address}: {said}");
    // That there is no desktop to be remote-controlled by is not the film's fault.
    let desktop =
        |line: &str| line.contains(" interface error: ") || line.contains(" libvlc error: ");
    let wrong = said.lines().filter(|line| line.contains(" error: "));
    let wrong: Vec<&str> = wrong.filter(|line| !desktop(line)).collect();
    assert!(wrong.is_empty(), "{address}: {wrong:?}");
    samples(&out).await
}
