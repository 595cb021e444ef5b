//! Table names with ranges, as jobs name the parts of a divided table: `orders_[0-15]`,
//! `shop_[00-03].orders_[0-7]`. Quoted parts are never expanded.

use transload_plugin_api::{Error, Result};

use crate::TableName;

/// More tables than that are a slip of the pen.
const MOST: u64 = 4096;

/// The tables that a name with ranges stands for, the last range running fastest; one for a name
/// without.
///
/// # Errors
/// [`ErrorKind::Options`] for what is no name, a broken range, or too many tables.
pub(crate) fn expand(text: &str) -> Result<Vec<TableName>> {
    let pieces = pieces(text.trim()).map_err(|why| refuse(text, &why))?;
    let count = pieces.iter().try_fold(1u64, |count, piece| match piece {
        Piece::Text(_) => Some(count),
        Piece::Range { low, high, .. } => count.checked_mul((high - low).checked_add(1)?),
    });
    if count.is_none_or(|count| count > MOST) {
        return Err(refuse(text, &format!("it stands for more than {MOST} tables")));
    }
    let mut names = vec![String::new()];
    for piece in pieces {
        names = match piece {
            Piece::Text(text) => names.into_iter().map(|name| name + text).collect(),
            Piece::Range { low, high, width } => names
                .iter()
                .flat_map(|name| (low..=high).map(move |at| format!("{name}{at:0width$}")))
                .collect(),
        };
    }
    names.iter().map(|name| name.parse()).collect()
}

enum Piece<'a> {
    Text(&'a str),
    /// Both ends included; at least this many digits.
    Range {
        low: u64,
        high: u64,
        width: usize,
    },
}

/// Cuts a name at its ranges.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let (mut start, mut at, mut part_begins) = (0, 0, true);
    while let Some(letter) = text[at..].chars().next() {
        let close = match letter {
            '"' => '"',
            '`' => '`',
            _ => ']',
        };
        if matches!(letter, '"' | '`' | '[') && part_begins {
            // Nothing in quotes is a range; an unclosed quote is reported by the name's parser.
            at = text[at + 1..].find(close).map_or(text.len(), |end| at + 1 + end + 1);
            continue;
        }
        if letter == '[' {
            let end = text[at..].find(']').ok_or("a range is not closed")?;
            pieces.push(Piece::Text(&text[start..at]));
            pieces.push(range(&text[at + 1..at + end])?);
            (start, at) = (at + end + 1, at + end + 1);
        } else {
            at += letter.len_utf8();
        }
        part_begins = letter == '.';
    }
    pieces.push(Piece::Text(&text[start..]));
    Ok(pieces)
}

fn range(text: &str) -> Result<Piece<'_>, String> {
    let digits = |end: &str| {
        let is_number = !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit());
        end.parse().ok().filter(|_| is_number)
    };
    let ends =
        text.split_once('-').and_then(|(low, high)| Some((low, digits(low)?, digits(high)?)));
    let Some((written, low, high)) = ends else {
        return Err(format!("`[{text}]` is not a range of numbers"));
    };
    let padded = written.len() > 1 && written.starts_with('0');
    let width = if padded { written.len() } else { 1 };
    if padded && text.len() - written.len() - 1 < width {
        return Err(format!("the ends of `[{text}]` are not padded alike"));
    }
    if low > high {
        return Err(format!("`[{text}]` runs backwards"));
    }
    Ok(Piece::Range { low, high, width })
}

fn refuse(text: &str, why: &str) -> Error {
    Error::options(format!("`{text}` names no tables: {why}")).hint(
        "write `orders_[0-15]`, with zeros before where the tables have them (`[00-15]`), and \
         quotes around a name that holds brackets: `\"orders_[x]\"`",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use transload_plugin_api::ErrorKind;

    fn names(text: &str) -> Vec<String> {
        expand(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ranges_are_counted_up() {
        for (text, expected) in [
            ("orders", &["orders"][..]),
            ("s.orders_[2-4]", &["s.orders_2", "s.orders_3", "s.orders_4"]),
            ("t[08-10]", &["t08", "t09", "t10"]),
            ("t[98-101]x", &["t98x", "t99x", "t100x", "t101x"]),
            ("t[7-7]", &["t7"]),
            ("d[0-1].t[0-1]", &["d0.t0", "d0.t1", "d1.t0", "d1.t1"]),
            ("t_[0-1]_[1-2]", &["t_0_1", "t_0_2", "t_1_1", "t_1_2"]),
            ("t[00-00]", &["t00"]),
            ("é[0-1]", &["é0", "é1"]),
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
    }

    #[test]
    fn t42_quoted_names_are_never_expanded() {
        for (text, table) in [
            ("\"t_[0-3]\"", "t_[0-3]"),
            ("`t_[0-3]`", "t_[0-3]"),
            ("[t 0-3]", "t 0-3"),
            ("[0-3]", "0-3"),
            ("s.\"a\"\"[0-3]\"", "a\"[0-3]"),
        ] {
            let found = expand(text).unwrap();
            assert_eq!((found.len(), found[0].table.as_str()), (1, table), "{text}");
        }
        assert_eq!(names("\"a b\".t[0-1]"), ["a b.t0", "a b.t1"]);
    }

    #[test]
    fn broken_ranges_are_refused() {
        for text in [
            "t[3-1]",
            "t[a-b]",
            "t[1]",
            "t[1-2",
            "t[001-15]",
            "t[0-4096]",
            "t[0-99]u[0-99]",
            "t[-]",
            "t[0-+5]",
            "t[0-18446744073709551616]",
            "t[0-18446744073709551615]",
            "[0-3]t",
            "t[1-2].",
            "",
            "a.b.c",
        ] {
            let error = expand(text).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options, "{text}");
            assert!(error.hint.is_some());
        }
    }

    proptest! {
        #[test]
        fn printed_names_stand_for_themselves(schema in proptest::option::of(".+"), table in ".+") {
            let name = TableName { schema, table };
            prop_assert_eq!(expand(&name.to_string()).unwrap(), vec![name]);
        }

        #[test]
        fn no_text_breaks_it(text in "[ab\\[\\]\"`.0-9-]{0,12}") {
            let _ = expand(&text);
        }
    }
}
