//! What a server may send: streams of COPY, numbers, dates. Every value that is read is written as
//! the bytes that came.

use transload_plugin_api::{Column, LogicalType};
use transload_tests_fuzz::fuzz;

use crate::{
    decode::Decoder,
    numeric::{self, Numeric},
    types::Wire,
};

/// A stream with one row of every kind of wire, and its columns.
fn decoder() -> Decoder {
    let of = |name: &str, logical: &str| {
        Column::new(name, logical.parse::<LogicalType>().expect("a type"), true)
    };
    let columns = [
        of("n", "int32"),
        of("s", "text"),
        of("d", "decimal(15,2)"),
        of("u", "numeric"),
        of("t", "timestamp"),
        of("l", "list<int32>"),
    ];
    let element = Box::new(Wire::Int4);
    let wires = [
        Wire::Int4,
        Wire::Text,
        Wire::Numeric,
        Wire::Numeric,
        Wire::Timestamp,
        Wire::Array { oid: 23, element },
    ];
    Decoder::new(&columns, &wires, false, 4).expect("a decoder")
}

fn stream() -> Vec<u8> {
    let field = |bytes: &[u8]| [&(bytes.len() as i32).to_be_bytes()[..], bytes].concat();
    let words = |words: &[i32]| words.iter().flat_map(|it| it.to_be_bytes()).collect::<Vec<_>>();
    let half = [0, 1, 0xFF, 0xFF, 0, 0, 0, 1, 0x13, 0x88];
    let row = [
        6_u16.to_be_bytes().to_vec(),
        field(&7_i32.to_be_bytes()),
        field(b"text"),
        field(&half),
        field(&half),
        field(&0_i64.to_be_bytes()),
        field(&words(&[1, 0, 23, 1, 1, 4, 9])),
    ]
    .concat();
    [b"PGCOPY\n\xff\r\n\0".to_vec(), vec![0; 8], row.clone(), row, vec![0xff; 2]].concat()
}

#[test]
fn pg_copy_binary() {
    let mut seed = decoder();
    seed.decode(&stream()).and_then(|()| seed.end(Some(2))).expect("the seed is a whole stream");
    fuzz("pg_copy_binary", [stream()], &["\0\0\0\x04", "\0\x06", "PGCOPY"], |input| {
        let decode = |piece: usize| {
            let mut decoder = decoder();
            for piece in input.chunks(piece) {
                decoder.decode(piece).map_err(|error| error.message)?;
            }
            decoder.end(None).map_err(|error| error.message)?;
            let decoded = decoder.finish().map_err(|error| error.message)?;
            Ok::<_, String>((decoded.batch, decoded.dirty.len()))
        };
        let (whole, pieces) = (decode(input.len().max(1)), decode(3));
        assert_eq!(whole.is_ok(), pieces.is_ok(), "{whole:?}, in pieces {pieces:?}");
        if let (Ok(whole), Ok(pieces)) = (&whole, &pieces) {
            assert_eq!(whole, pieces);
        }
        whole.map(|(batch, dirty)| (batch.num_rows(), dirty))
    });
}

#[test]
fn pg_datetime_numeric() {
    let half = [0, 1, 0xFF, 0xFF, 0, 0, 0, 1, 0x13, 0x88];
    let large = [0, 3, 0, 2, 0x40, 0, 0, 4, 0, 1, 0x27, 0x0f, 0x04, 0xd2];
    fuzz("pg_datetime_numeric", [half.to_vec(), large.to_vec()], &["\u{c0}", "\0\0"], |input| {
        let number = Numeric::parse(input)?;
        let scaled = number.scaled(38, 10);
        if let (Some(scaled), Some(wide)) = (scaled, number.scaled_wide(76, 10)) {
            assert_eq!(arrow_buffer::i256::from_i128(scaled), wide);
        }
        let mut text = Vec::new();
        number.text(&mut text);
        let text = String::from_utf8(text).expect("ASCII");
        let mut bytes = Vec::new();
        if numeric::put_text(&text, None, &mut bytes).is_ok() {
            let again = Numeric::parse(&bytes[4..]).expect("a number that was written");
            let mut second = Vec::new();
            again.text(&mut second);
            assert_eq!(text.as_bytes(), second);
        }
        Some((number.sign as u8, scaled.is_some(), text.len()))
    });
}
