//! What size a rung has.
//!
//! A rung's name is the short side of the picture as shown, so that `720p` of an upright film is 720 wide.
//! Both sides are even (4:2:0), the shape is kept within a pixel pair, and nothing is ever enlarged.

use crate::index::Rational;

/// The largest picture an encoder is asked for.
pub const SIDE_PX_MAX: u32 = 8192;

/// Size as shown: square pixels, upright.
///
/// `width` and `height` are coded, `pixel_aspect` the shape of a pixel (0/x and x/0 count as square),
/// `rotation_deg` clockwise.
pub fn displayed(width: u32, height: u32, pixel_aspect: Rational, rotation_deg: u16) -> (u32, u32) {
    let (num, den) = (u64::from(pixel_aspect.num), u64::from(pixel_aspect.den));
    let (mut wide, mut high) = (u64::from(width), u64::from(height));
    if num != 0 && den != 0 {
        // Stretch one side, never shrink the other: no detail is lost.
        if num > den {
            wide = (wide * num + den / 2) / den;
        } else {
            high = (high * den + num / 2) / num;
        }
    }
    let clamp = |side: u64| u32::try_from(side).unwrap_or(u32::MAX).clamp(1, u32::MAX);
    if rotation_deg % 180 == 90 {
        (clamp(high), clamp(wide))
    } else {
        (clamp(wide), clamp(high))
    }
}

/// Size of a rung with the short side `short_px`, from the size as shown; `None` when that would enlarge it
/// or leave nothing to see.
pub fn rung(shown: (u32, u32), short_px: u32) -> Option<(u32, u32)> {
    let (wide, high) = shown;
    let short = wide.min(high);
    if short_px > short || short_px < 2 || short == 0 {
        return None;
    }
    let fit = |side: u32| {
        let exact = u64::from(side) * u64::from(short_px);
        let pairs = (exact + u64::from(short)) / (2 * u64::from(short));
        u32::try_from(pairs.max(1) * 2)
            .unwrap_or(SIDE_PX_MAX)
            .min(SIDE_PX_MAX)
    };
    Some((fit(wide), fit(high)))
}

/// Size that fits `width_px_max`, with the shape kept, both sides even and nothing enlarged.
pub fn fit_width(shown: (u32, u32), width_px_max: u32) -> (u32, u32) {
    let (wide, high) = shown;
    let width = wide.min(width_px_max).max(2) & !1;
    let height = u64::from(high) * u64::from(width) / u64::from(wide.max(1));
    (
        width,
        u32::try_from(height)
            .unwrap_or(SIDE_PX_MAX)
            .clamp(2, SIDE_PX_MAX)
            & !1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SQUARE: Rational = Rational::new(1, 1);

    #[test]
    fn known_pictures() {
        let table = [
            ((1920, 1080, SQUARE, 0), 720, Some((1280, 720))),
            ((1920, 1080, SQUARE, 90), 720, Some((720, 1280))),
            ((720, 576, Rational::new(64, 45), 0), 480, Some((854, 480))),
            ((1440, 1080, Rational::new(4, 3), 0), 720, Some((1280, 720))),
            ((1280, 534, SQUARE, 0), 480, Some((1150, 480))),
            ((518, 488, SQUARE, 0), 480, Some((510, 480))),
            ((1280, 720, SQUARE, 0), 1080, None),
            ((1280, 720, Rational::new(0, 1), 270), 480, Some((480, 854))),
            ((320, 240, SQUARE, 0), 0, None),
        ];
        for ((width, height, aspect, rotation), short, expected) in table {
            assert_eq!(
                rung(displayed(width, height, aspect, rotation), short),
                expected,
                "{width}x{height}"
            );
        }
    }

    #[test]
    fn a_poster_is_never_enlarged() {
        assert_eq!(fit_width((1920, 1080), 640), (640, 360));
        assert_eq!(fit_width((321, 241), 640), (320, 240));
        assert_eq!(fit_width((1, 1), 640), (2, 2));
    }

    proptest! {
        #[test]
        fn sides_are_even_and_never_larger(width in 1u32..20_000, height in 1u32..20_000, short in 0u32..5000) {
            if let Some((wide, high)) = rung((width, height), short) {
                prop_assert!(wide % 2 == 0 && high % 2 == 0 && wide >= 2 && high >= 2);
                prop_assert!(wide <= width + 1 && high <= height + 1);
            }
        }

        #[test]
        fn any_aspect_is_survived(width: u32, height: u32, num: u32, den: u32, rotation in 0u16..400) {
            let _ = displayed(width, height, Rational::new(num, den), rotation);
        }
    }
}
