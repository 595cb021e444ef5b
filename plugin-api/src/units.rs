//! Sizes and durations as job files write them: `"64 MiB"`, `"30 s"`. What they are used for is
//! left to `option`.

/// Units of sizes, in bytes: powers of 1,024 with an `i`, powers of 1,000 without.
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Units of durations, in milliseconds.
const DURATIONS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// What a size is, for messages.
pub(crate) const SIZE_FORMS: &str = "a size such as `64 MiB`, `20 MB` or a number of bytes";
/// The units of a size, for hints.
pub(crate) const SIZE_UNITS: &str =
    "units are B, kB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB, TiB (1024)";
/// What a duration is, for messages.
pub(crate) const DURATION_FORMS: &str = "a duration such as `250 ms`, `30 s`, `10 min` or `2 h`";
/// The units of a duration, for hints.
pub(crate) const DURATION_UNITS: &str = "units are ms, s, min, h, d";

/// A size in bytes. A number alone is bytes. `None` if the text is not a size, is not a whole
/// number of bytes, or exceeds 64 bits.
pub(crate) fn size(text: &str) -> Option<u64> {
    quantity(text, SIZES, Some(1))
}

/// A duration in milliseconds. The unit must be given. `None` as for [`size`].
pub(crate) fn duration(text: &str) -> Option<u64> {
    quantity(text, DURATIONS, None)
}

/// A pattern of the texts that are sizes, for JSON Schema. It knows no largest number.
pub(crate) fn size_pattern() -> String {
    pattern(SIZES, "?")
}

/// A pattern of the texts that are durations, as [`size_pattern`].
pub(crate) fn duration_pattern() -> String {
    pattern(DURATIONS, "")
}

fn pattern(units: &[(&str, u64)], times: &str) -> String {
    let units: Vec<_> = units.iter().map(|(name, _)| *name).collect();
    let units = units.join("|");
    format!(r"^\s*[0-9]([0-9_]*[0-9])?(\.[0-9]{{1,9}})?\s*({units}){times}\s*$")
}

/// Digits with `_` between them, up to nine decimals, a unit: exact, without floats.
fn quantity(text: &str, units: &[(&str, u64)], bare: Option<u64>) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !matches!(c, '0'..='9' | '_' | '.')).unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim_start());
    let factor = match unit {
        "" => bare?,
        unit => units.iter().find(|(name, _)| *name == unit)?.1,
    };
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let decimals_ok = (1..=9).contains(&decimals.len()) && !decimals.contains('_');
    if !decimals_ok || !whole.starts_with(|c: char| c.is_ascii_digit()) || whole.ends_with('_') {
        return None;
    }
    let scale = 10_u128.pow(decimals.len() as u32);
    let whole = whole.replace('_', "").parse::<u64>().ok()?;
    let scaled = u128::from(whole) * scale + decimals.parse::<u128>().ok()?;
    let total = scaled.checked_mul(u128::from(factor))?;
    (total % scale == 0).then(|| u64::try_from(total / scale).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("64 MiB", Some(64 << 20)),
            ("64MiB", Some(64 << 20)),
            ("20 MB", Some(20_000_000)),
            ("1.5 GiB", Some(3 << 29)),
            ("50_000", Some(50_000)),
            ("0", Some(0)),
            (" 7 B ", Some(7)),
            ("16777215.9 TiB", None),
            ("16777216 TiB", None),
            ("0.3 B", None),
            ("64 mib", None),
            ("64 M", None),
            ("MiB", None),
            ("-1 MiB", None),
            ("1,5 MiB", None),
            (".5 MiB", None),
            ("1. MiB", None),
            ("1.2.3 MiB", None),
            ("_1", None),
            ("1_", None),
            ("1e3", None),
            ("", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("250 ms", Some(250)),
            ("30 s", Some(30_000)),
            ("1.5s", Some(1_500)),
            ("10 min", Some(600_000)),
            ("2 h", Some(7_200_000)),
            ("1 d", Some(86_400_000)),
            ("30", None),
            ("30 sec", None),
            ("0.5 ms", None),
            ("5 m", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whole_sizes_are_exact(number in 0_u64..1 << 24, unit in 0..SIZES.len(), gap in " {0,2}") {
            let (name, factor) = SIZES[unit];
            prop_assert_eq!(size(&format!("{number}{gap}{name}")), Some(number * factor));
        }

        #[test]
        fn decimals_are_exact_or_refused(whole in 0_u64..1_000, thousandths in 0_u64..1_000) {
            let text = format!("{whole}.{thousandths:03} KiB");
            let scaled = (whole * 1_000 + thousandths) * 1_024;
            prop_assert_eq!(size(&text), (scaled % 1_000 == 0).then_some(scaled / 1_000));
        }

        #[test]
        fn anything_is_taken_or_refused(text in "\\PC{0,12}") {
            let _ = (size(&text), duration(&text));
        }
    }
}
