//! Readers of playlists and manifests that nobody here wrote.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

/// Reads every file of a folder with `m3u8` and `mpegdash`, and compares what they understood with the text.
const READ: &str = r##"
import pathlib, sys
try:
    import m3u8
    from mpegdash.parser import MPEGDASHParser
except ImportError as error:
    print("absent:", error)
    sys.exit()
count = 0
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    text = path.read_text()
    count += 1
    if path.suffix == ".mpd":
        manifest = MPEGDASHParser.parse(text)
        sets = manifest.periods[0].adaptation_sets
        assert sets and all(one.representations for one in sets), path.name
        for kind, representation in ((each.content_type, one) for each in sets for one in each.representations):
            assert (representation.codecs or kind == "text") and representation.bandwidth, path.name
        continue
    playlist = m3u8.loads(text)
    if playlist.is_variant:
        assert len(playlist.playlists) == text.count("#EXT-X-STREAM-INF"), path.name
        assert len(playlist.media) == text.count("#EXT-X-MEDIA:"), path.name
        assert len(playlist.iframe_playlists) == text.count("#EXT-X-I-FRAME-STREAM-INF"), path.name
        for variant in playlist.playlists:
            info = variant.stream_info
            assert info.codecs and info.bandwidth and info.average_bandwidth, path.name
            if info.audio:
                assert any(one.group_id == info.audio for one in playlist.media), path.name
    else:
        assert playlist.is_endlist and playlist.playlist_type == "vod", path.name
        assert len(playlist.segments) == text.count("#EXTINF"), path.name
        assert all(round(one.duration) <= playlist.target_duration for one in playlist.segments), path.name
        assert all(one.init_section and one.init_section.uri for one in playlist.segments), path.name
print("read", count)
"##;

/// What they said; nothing, loudly, where they are not installed.
pub async fn read(folder: &Path) -> Result<(), String> {
    let done = Command::new("python3")
        .args(["-c", READ])
        .arg(folder)
        .stdin(Stdio::null())
        .output()
        .await;
    let Ok(done) = done else {
        println!("SKIPPED: python3 is not installed");
        return Ok(());
    };
    let said = String::from_utf8_lossy(&done.stdout);
    if said.starts_with("absent") {
        println!("SKIPPED: {} (packaging/prepare test)", said.trim());
        return Ok(());
    }
    println!("the other parsers: {}", said.trim());
    if done.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&done.stderr).into_owned())
    }
}
