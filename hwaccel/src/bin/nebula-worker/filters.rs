//! Filter chains: from a picture as coded to one as shown.

use nebula_hwaccel::protocol::Acceleration;

use crate::av::Graph;

/// PQ and HLG to BT.709, through linear light; at the small size, as it is dear.
const TONEMAP: &str = "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=tonemap=hable:desat=0,\
zscale=t=bt709:m=bt709:r=tv";

/// A chain on the CPU that ends with an upright picture of `size` in `format`, square pixels.
pub fn software(size: (u32, u32), rotation_deg: u16, hdr: bool, format: &str) -> String {
    let (width, height) = coded(size, rotation_deg);
    let mut chain = vec![format!("scale={width}:{height}:flags=bicubic")];
    if hdr && Graph::has_filter(c"zscale") {
        chain.push(TONEMAP.to_owned());
    }
    chain.extend(match rotation_deg {
        90 => Some("transpose=clock".to_owned()),
        180 => Some("hflip,vflip".to_owned()),
        270 => Some("transpose=cclock".to_owned()),
        _ => None,
    });
    chain.push("setsar=1".to_owned());
    chain.push(format!("format={format}"));
    chain.join(",")
}

/// A chain on the GPU through VA-API; `uploaded` when the frames come from the CPU.
fn vaapi(size: (u32, u32), rotation_deg: u16, hdr: bool, uploaded: bool) -> String {
    let (width, height) = coded(size, rotation_deg);
    let mut chain = Vec::new();
    if uploaded {
        chain.push("format=nv12|p010,hwupload".to_owned());
    }
    if hdr {
        chain.push("tonemap_vaapi=format=nv12:t=bt709:p=bt709:m=bt709".to_owned());
    }
    chain.push(format!(
        "scale_vaapi=w={width}:h={height}:format=nv12:mode=hq"
    ));
    chain.extend(
        match rotation_deg {
            90 => Some("transpose_vaapi=dir=clock"),
            180 => Some("transpose_vaapi=dir=reversal"),
            270 => Some("transpose_vaapi=dir=cclock"),
            _ => None,
        }
        .map(str::to_owned),
    );
    chain.push("setsar=1".to_owned());
    chain.join(",")
}

/// A chain on the GPU through Quick Sync: the VA-API surfaces of the decoder are mapped, never copied.
fn qsv(size: (u32, u32), rotation_deg: u16, hdr: bool, uploaded: bool) -> String {
    let (width, height) = coded(size, rotation_deg);
    let mut chain = Vec::new();
    if uploaded {
        chain.push("format=nv12|p010,hwupload".to_owned());
    }
    if hdr {
        chain.push("tonemap_vaapi=format=nv12:t=bt709:p=bt709:m=bt709".to_owned());
    }
    chain.push("hwmap=derive_device=qsv,format=qsv".to_owned());
    let turn = match rotation_deg {
        90 => ":transpose=clock",
        180 => ":transpose=reversal",
        270 => ":transpose=cclock",
        _ => "",
    };
    chain.push(format!("vpp_qsv=w={width}:h={height}:format=nv12{turn}"));
    chain.push("setsar=1".to_owned());
    chain.join(",")
}

/// The size before turning.
fn coded(size: (u32, u32), rotation_deg: u16) -> (u32, u32) {
    if rotation_deg % 180 == 90 {
        (size.1, size.0)
    } else {
        size
    }
}

/// The chain for a way; software ends in what libx264 takes.
pub fn chain(
    way: &Acceleration,
    size: (u32, u32),
    rotation_deg: u16,
    hdr: bool,
    on_cpu: bool,
) -> String {
    match way {
        Acceleration::Software => software(size, rotation_deg, hdr, "yuv420p"),
        Acceleration::Vaapi { .. } => vaapi(size, rotation_deg, hdr, on_cpu),
        Acceleration::Qsv { .. } => qsv(size, rotation_deg, hdr, on_cpu),
    }
}
