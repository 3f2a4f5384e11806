//! What may look at a stranger's bytes.

/// Demuxers, by libav's names.
pub const DEMUXERS: &str =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,flv,avi,ogg,mp3,wav,flac,aac,asf,w64,aiff";

/// Demuxers of files of subtitles, by libav's names.
pub const TEXT_DEMUXERS: &str = "srt,ass,webvtt";

/// Decoders of text, by libav's names.
pub const TEXT_DECODERS: &str = "srt,subrip,ass,ssa,mov_text,webvtt,text";

/// Decoders, by libav's names.
pub const DECODERS: &str = "h264,hevc,av1,libdav1d,vp8,vp9,libvpx-vp9,mpeg1video,mpeg2video,mpeg4,msmpeg4v3,h263,flv,theora,\
prores,mjpeg,vc1,wmv3,aac,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,eac3,dca,truehd,mlp,opus,libopus,vorbis,\
flac,alac,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_u8,pcm_s8,pcm_alaw,\
pcm_mulaw,pcm_bluray,pcm_dvd,adpcm_ms,adpcm_ima_wav,wmav1,wmav2,wmapro,amrnb,amrwb";

/// Whether a decoder is on the list.
pub fn decoder(name: &str) -> bool {
    DECODERS.split(',').any(|allowed| allowed == name)
}

/// Whether a decoder of text is on the list.
pub fn texts(name: &str) -> bool {
    TEXT_DECODERS.split(',').any(|allowed| allowed == name)
}
