//! What a server may send: greetings, results, rows in both forms; and texts that are written for
//! it.

use transload_plugin_api::{Column, LogicalType};
use transload_tests_fuzz::fuzz;

use crate::{
    answer::{self, ResultColumn},
    decode::{ColumnDecoder, RowDecoder, RowFault},
    options::ZeroDates,
    text::{Style, put_escaped},
    wire::Taker,
};

#[test]
fn mysql_answers() {
    let column = b"\x03def\x01s\x01t\x01t\x01c\x01c\x0c\x2d\0\0\x04\0\0\x03\0\0\0\0\0";
    let seeds: [&[u8]; 4] =
        [column, b"\xff\x28\x04#42000wrong", b"\0\x01\0\x02\0\0\0Records: 3", b"\x01a\xfb"];
    fuzz("mysql_answers", seeds, &["\u{fb}", "\u{fc}", "\u{fe}", "#HY000"], |input| {
        let done = answer::ok_packet(input).ok();
        (
            answer::result_column(input).map(|column| column.kind),
            answer::server_error(input).number,
            done.map(|done| (done.affected, done.named("Records"))),
            answer::text_row(input, 3).is_ok(),
        )
    });
}

/// One column of each kind that the server sends.
fn decoder() -> RowDecoder {
    let kinds: [(u8, u16, &str); 12] = [
        (1, 0, "int8"),
        (3, 32, "uint32"),
        (8, 0, "int64"),
        (4, 0, "float32"),
        (5, 0, "float64"),
        (246, 0, "decimal(15,2)"),
        (253, 0, "text"),
        (252, 0, "binary"),
        (10, 0, "date"),
        (12, 0, "timestamp"),
        (11, 0, "duration"),
        (245, 0, "json"),
    ];
    let column = |(kind, flags, logical): (u8, u16, &str)| {
        let logical = logical.parse::<LogicalType>().expect("a type");
        let name = logical.to_string();
        let found = ResultColumn {
            name: name.clone(),
            kind,
            flags,
            charset: 45,
            length: 1_024,
            decimals: 6,
        };
        ColumnDecoder::new(&Column::new(name, logical, true), &found, ZeroDates::Null, false)
            .expect("a column that can be read")
    };
    RowDecoder::new(kinds.map(column).into(), vec![2])
}

#[test]
fn mysql_row() {
    let row: Vec<u8> = [
        &b"\0\0\0\x05\x07\0\0\0\x09\0\0\0\0\0\0\0"[..],
        &1.5_f32.to_le_bytes(),
        &2.5_f64.to_le_bytes(),
        b"\x0412.5\x04text\x03\0\xff\x01\x04\xea\x07\x0b\x1e",
        b"\x0b\xea\x07\x0b\x1e\x0c\x22\x38\x3f\x42\x0f\0\x08\0\x01\0\0\0\x02\x03\x04\x02{}",
    ]
    .concat();
    assert!(decoder().append(&row).is_ok(), "the seed is a row");
    fuzz("mysql_row", [row], &["\u{fb}", "\u{fc}", "\u{fe}", "\0\0\0\0"], |input| {
        let mut decoder = decoder();
        let first = decoder.append(input);
        // A refused row leaves nothing behind: the next one is the same again.
        let _ = decoder.append(input);
        let rows = decoder.rows;
        let _ = (decoder.key_of_packet(input), decoder.last_key());
        match decoder.finish(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]) {
            Ok(read) => assert!(read.arrays.iter().all(|array| array.len() == rows)),
            Err(error) => assert!(error.to_string().contains("non UTF-8"), "{error}"),
        }
        match first {
            Ok(()) => Ok(rows),
            Err(RowFault::Cell(at, _)) => Err(Some(at)),
            Err(RowFault::Packet) => Err(None),
        }
    });
}

#[test]
fn mysql_value_text() {
    fuzz("mysql_value_text", ["it's", "a\\b\0c\td\n"], &["'", "\\", "\0", "\\'", "\t"], |input| {
        let mut literal = Vec::new();
        put_escaped(input, Style::Literal, &mut literal);
        let (first, inner) = literal.split_first().expect("a quote");
        assert_eq!((first, inner.last()), (&b'\'', Some(&b'\'')));
        assert_eq!(unescaped(&inner[..inner.len() - 1], b"'"), input);
        let mut field = Vec::new();
        put_escaped(input, Style::Field, &mut field);
        assert_eq!(unescaped(&field, b"\t\n"), input);
        let mut taker = Taker(input);
        (taker.length(), taker.string().map(<[u8]>::len))
    });
}

/// Reads escapes as the server does; none of the bytes in `end` may stand alone.
fn unescaped(text: &[u8], end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        assert!(!end.contains(byte), "an unescaped {byte}");
        bytes.push(match byte {
            b'\\' => match rest.next().expect("an escaped byte") {
                b'0' => 0,
                b't' => b'\t',
                b'n' => b'\n',
                other => *other,
            },
            byte => *byte,
        });
    }
    bytes
}
