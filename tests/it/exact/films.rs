//! The films that the packager is held to: made once by ffmpeg, each with one thing that players trip over.

use std::path::PathBuf;

use nebula_tests::films;

/// What is made from what.
pub struct Made {
    /// The file that is kept.
    pub name: &'static str,
    /// What of ffmpeg's arguments comes before the output.
    pub arguments: &'static [&'static str],
    /// Another film of the table that is copied into it, as its first input.
    pub from: Option<&'static str>,
}

const fn film(name: &'static str, arguments: &'static [&'static str]) -> Made {
    Made {
        name,
        arguments,
        from: None,
    }
}

const fn copy(name: &'static str, from: &'static str, arguments: &'static [&'static str]) -> Made {
    Made {
        name,
        arguments,
        from: Some(from),
    }
}

/// A moving picture and a tone.
macro_rules! shot {
    ($seconds:literal, $rate:literal, [$($more:literal),* $(,)?]) => {
        &[
            "-f", "lavfi", "-i", concat!("testsrc2=size=320x180:rate=", $rate),
            "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
            "-t", $seconds, "-pix_fmt", "yuv420p", "-preset", "ultrafast", $($more),*
        ]
    };
}

/// H.264 with B-frames and a keyframe every two seconds at 24 frames.
macro_rules! plain {
    ($seconds:literal, [$($more:literal),* $(,)?]) => {
        shot!($seconds, "24", [
            "-c:v", "libx264", "-bf", "2", "-b_strategy", "0", "-g", "48", "-sc_threshold", "0", "-c:a", "aac",
            "-ac", "2", $($more),*
        ])
    };
}

/// All of them.
#[rustfmt::skip]
pub const FILMS: &[Made] = &[
    film("x-plain.mp4", plain!("21", [])),
    film("x-fragmented.mp4", plain!("13", ["-movflags", "+frag_keyframe+empty_moov"])),
    film("x-plain.mov", plain!("9", [])),
    film("x-plain.mkv", plain!("13", [])),
    film("x-ntsc.mkv", shot!("13", "30000/1001", ["-c:v", "libx264", "-bf", "3", "-g", "60", "-c:a", "libopus"])),
    film("x-vp9.webm", shot!("9", "25", ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "50", "-c:a", "libopus"])),
    film("x-av1.mp4", shot!("6", "25", ["-c:v", "libsvtav1", "-preset", "12", "-g", "50", "-c:a", "libopus"])),
    film("x-av1.mkv", shot!("6", "25", ["-c:v", "libsvtav1", "-preset", "12", "-g", "50", "-c:a", "flac"])),
    film("x-hevc.mp4", shot!("8", "25", ["-c:v", "libx265", "-x265-params", "log-level=none:keyint=50:open-gop=0", "-tag:v", "hvc1", "-c:a", "eac3"])),
    film("x-hevc-open.mkv", shot!("9", "25", ["-c:v", "libx265", "-x265-params", "log-level=none:keyint=50:open-gop=1:bframes=3", "-c:a", "ac3"])),
    film("x-open.mp4", shot!("13", "25", ["-c:v", "libx264", "-x264-params", "open-gop=1:bframes=3:b-pyramid=normal:keyint=50:min-keyint=50:scenecut=0", "-c:a", "aac"])),
    film("x-vfr.mp4", plain!("13", ["-vf", "select='not(mod(n\\,3))+lt(mod(n\\,50)\\,20)'", "-vsync", "vfr"])),
    film("x-vfr.mkv", plain!("13", ["-vf", "select='not(mod(n\\,3))+lt(mod(n\\,50)\\,20)'", "-vsync", "vfr"])),
    film("x-long-gop.mp4", shot!("65", "10", ["-c:v", "libx264", "-g", "300", "-sc_threshold", "0", "-c:a", "aac"])),
    copy("x-edit.mp4", "x-plain.mp4", &["-c", "copy"]),
    film("x-negative.mp4", plain!("9", ["-avoid_negative_ts", "disabled", "-output_ts_offset", "-0.5"])),
    film("x-negative.mkv", plain!("9", ["-output_ts_offset", "-0.5"])),
    film("x-offset.mp4", plain!("9", ["-output_ts_offset", "3.21"])),
    copy("x-rotated.mp4", "x-plain.mp4", &["-c", "copy", "-metadata:s:v:0", "rotate=90"]),
    film("x-gaps.mkv", plain!("16", ["-vf", "select='not(between(t,5,8.4))'", "-af", "aselect='not(between(t,5.5,8.1))'", "-vsync", "passthrough"])),
    film("x-gaps.mp4", plain!("16", ["-vf", "select='not(between(t,5,8.4))'", "-vsync", "vfr"])),
    film("x-late-sound.mkv", &["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=24", "-itsoffset", "2.3", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "10", "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-c:v", "libx264", "-g", "48", "-c:a", "aac"]),
    film("x-late-picture.mkv", &["-itsoffset", "1.7", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=24", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "10", "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-c:v", "libx264", "-g", "48", "-c:a", "aac"]),
    film("x-many.mkv", &["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=24", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-map", "0:v", "-map", "1:a", "-map", "1:a", "-map", "1:a", "-map", "1:a", "-t", "9", "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-c:v", "libx264", "-g", "48", "-c:a:0", "aac", "-c:a:1", "ac3", "-c:a:2", "flac", "-c:a:3", "libmp3lame", "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=ger"]),
    film("x-many.mp4", &["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=24", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-map", "0:v", "-map", "1:a", "-map", "1:a", "-map", "1:a", "-t", "9", "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-c:v", "libx264", "-g", "48", "-c:a:0", "aac", "-c:a:1", "libmp3lame", "-c:a:2", "eac3"]),
    film("x-sound.m4a", &["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-t", "11", "-c:a", "aac"]),
    film("x-sound.mp3", &["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-t", "11", "-c:a", "libmp3lame"]),
    film("x-plain.ts", plain!("13", [])),
    film("x-hevc.ts", shot!("8", "25", ["-c:v", "libx265", "-x265-params", "log-level=none:keyint=50:bframes=2", "-c:a", "eac3"])),
    film("x-many.ts", &["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-map", "0:v", "-map", "1:a", "-map", "1:a", "-map", "1:a", "-t", "9", "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-b:v", "4M", "-c:v", "libx264", "-g", "50", "-c:a:0", "aac", "-c:a:1", "ac3", "-c:a:2", "libmp3lame"]),
    film("x-wrap.ts", plain!("13", ["-output_ts_offset", "95439"])),
    film("x-plain.m2ts", plain!("9", ["-mpegts_m2ts_mode", "1"])),
    film("x-plain.avi", plain!("9", ["-bf", "0", "-c:a", "libmp3lame"])),
    film("x-ac3.avi", plain!("9", ["-bf", "0", "-c:a", "ac3"])),
    film("x-sound.aac", &["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-t", "11", "-c:a", "aac"]),
    film("x-sound.flac", &["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-t", "11", "-c:a", "flac"]),
    film("x-plain.flv", plain!("9", [])),
    film("x-mp3.flv", plain!("9", ["-c:a", "libmp3lame", "-ar", "44100"])),
];

/// The film's file, and those it is made from.
pub fn ready(film: &Made) -> Option<PathBuf> {
    let Some(from) = film.from else {
        return films::made(film.name, film.arguments);
    };
    let from = FILMS.iter().find(|other| other.name == from)?;
    let from = ready(from)?;
    let mut arguments = match film.name {
        // A cut in the middle of a group of pictures: an edit list hides what comes before.
        "x-edit.mp4" => vec!["-ss", "3.3"],
        _ => Vec::new(),
    };
    arguments.extend(["-i", from.to_str()?]);
    arguments.extend(film.arguments);
    films::made(film.name, &arguments)
}
