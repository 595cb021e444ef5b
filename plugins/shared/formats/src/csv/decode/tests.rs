//! Compares the decoder with the reference state machine, and tests known pitfalls.

use arrow_array::{Array, StringArray};
use proptest::prelude::*;
use transload_plugin_api::LogicalType;

use super::*;
use crate::csv::plain;
use transload_plugin_api::ErrorKind;

fn names(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("c{number}")).collect()
}

fn texts(count: usize) -> Vec<Column> {
    names(count).iter().map(|name| Column::new(name, LogicalType::TEXT, true)).collect()
}

/// Decodes pieces as a file reader does: what is not taken is offered again with more bytes.
fn decode(mut decoder: CsvDecoder, input: &[u8], piece: usize) -> Result<Vec<Decoded>> {
    let (mut from, mut to) = (0, 0);
    let mut found = Vec::new();
    while from < input.len() {
        to = (to + piece).min(input.len());
        loop {
            let last = to == input.len();
            let taken = decoder.decode(&input[from..to], last)?;
            from += taken;
            let full = decoder.is_full();
            if full || last {
                found.extend(decoder.flush()?);
            }
            if !full {
                break;
            }
        }
        if to == input.len() {
            break;
        }
    }
    Ok(found)
}

fn decoder(dialect: &CsvDialect, columns: &[Column]) -> CsvDecoder {
    CsvDecoder::new(dialect, &names(columns.len()), columns, &CellWords::default()).unwrap()
}

fn decode_default(columns: &[Column], input: &str) -> Decoded {
    let decoder = decoder(&CsvDialect::default(), columns);
    decode(decoder, input.as_bytes(), usize::MAX / 2).unwrap().remove(0)
}

type Row = Vec<Option<String>>;

fn rows(batch: &RecordBatch) -> Vec<Row> {
    let column = |at: usize| batch.column(at).as_any().downcast_ref::<StringArray>().unwrap();
    let cell = |row: usize, at: usize| {
        (!column(at).is_null(row)).then(|| column(at).value(row).to_owned())
    };
    (0..batch.num_rows())
        .map(|row| (0..batch.num_columns()).map(|at| cell(row, at)).collect())
        .collect()
}

/// Clean rows, and the lines of dirty ones, found by the reference state machine.
fn expected(dialect: &CsvDialect, input: &[u8], width: usize) -> (Vec<Row>, Vec<String>) {
    let (mut clean, mut dirty) = (Vec::new(), Vec::new());
    for record in plain::records(dialect, input).0 {
        let empty = record.cells.is_empty();
        let mut cells = record.cells;
        if empty && width == 1 && is_empty_line(dialect, input, record.offset as usize) {
            let null = dialect.null.is_empty();
            cells.push(if null { plain::Cell::Null } else { plain::Cell::Text(Vec::new()) });
        } else if empty {
            continue;
        }
        let row: Option<Row> = cells
            .into_iter()
            .map(|cell| match cell {
                plain::Cell::Null => Some(None),
                plain::Cell::Text(text) => Some(Some(String::from_utf8(text).ok()?)),
                plain::Cell::Wrong => None,
            })
            .collect();
        match row.filter(|row| row.len() == width) {
            Some(row) => clean.push(row),
            None => dirty.push(format!("line {}", record.line)),
        }
    }
    (clean, dirty)
}

/// Half of a CR LF at the end is no line.
fn is_empty_line(dialect: &CsvDialect, input: &[u8], at: usize) -> bool {
    dialect.comment.is_none_or(|comment| input[at] != comment) && input[at..] != *b"\r"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn t53_the_decoder_is_the_plain_state_machine(
        (dialect, input) in (plain::dialects(), plain::inputs()),
        width in 1usize..4,
        piece in 1usize..300,
    ) {
        let input = input.strip_prefix(super::super::BOM).unwrap_or(&input);
        let found = decode(decoder(&dialect, &texts(width)), input, piece);
        if plain::records(&dialect, input).1 {
            prop_assert_eq!(found.unwrap_err().code, "CSV-QUOTE");
        } else {
            let found = found.unwrap();
            let clean: Vec<Row> = found.iter().flat_map(|part| rows(&part.batch)).collect();
            let dirty: Vec<String> = found
                .iter()
                .flat_map(|part| part.dirty.iter().map(|row| row.place.clone().unwrap()))
                .collect();
            prop_assert_eq!((clean, dirty), expected(&dialect, input, width));
        }
    }
}

#[test]
fn t53_quotes_and_escapes_are_followed_across_blocks() {
    let dialect = CsvDialect { escape: Some(b'\\'), header: false, ..CsvDialect::default() };
    for piece in ["\\\r\n", "\"\"\"x\"\n", "\\,\n", "\"\n\",\n", "\\\\\r\n", "\r\n"] {
        for before in 0..140 {
            let input = format!("{},{piece}b\n", "a".repeat(before)).into_bytes();
            let width = plain::records(&dialect, &input).0[0].cells.len();
            let found = decode(decoder(&dialect, &texts(width)), &input, 1000).unwrap();
            let clean: Vec<Row> = found.iter().flat_map(|part| rows(&part.batch)).collect();
            assert_eq!(clean, expected(&dialect, &input, width).0, "{piece:?} {before}");
        }
    }
}

#[test]
fn t09_null_and_the_empty_text_are_two_things() {
    let found = decode_default(&texts(3), "a,,\"\"\n\"\",x,\n");
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(rows(&found.batch), [[text("a"), None, text("")], [text(""), text("x"), None]]);
    let dialect = CsvDialect { null: "\\N".into(), ..CsvDialect::default() };
    let input = b"\\N,\"\\N\",\n";
    let found = decode(decoder(&dialect, &texts(3)), input, 100).unwrap().remove(0);
    assert_eq!(rows(&found.batch), [[None, text("\\N"), text("")]]);
}

#[test]
fn t22_booleans_by_their_words_only() {
    let column = [Column::new("c1", LogicalType::Boolean, true)];
    let found = decode_default(&column, "true\nFALSE\nt\nNo\n1\noff\nTRUE \n2\n\"y\"\n\n");
    let expected = [true, false, true, false, true, false, true].map(Some);
    let expected: Vec<Option<bool>> = expected.into_iter().chain([None]).collect();
    assert_eq!(**found.batch.column(0), arrow_array::BooleanArray::from(expected));
    let dirty: Vec<_> = found.dirty.iter().map(|row| row.value.as_deref()).collect();
    assert_eq!(dirty, [Some("TRUE "), Some("2")]);
}

#[test]
fn t30_bytes_that_are_not_utf8_make_their_row_dirty() {
    for byte in 0x80..=0xFFu8 {
        let input = [b"a,1\nb", &[byte][..], b",2\nc,3\n"].concat();
        let found = decode(decoder(&CsvDialect::default(), &texts(2)), &input, 100).unwrap();
        assert_eq!(found[0].batch.num_rows(), 2);
        assert_eq!(found[0].dirty[0].code, "utf8");
        assert_eq!(found[0].dirty[0].place.as_deref(), Some("line 2"));
        assert_eq!(found[0].dirty[0].column.as_deref(), Some("c1"));
    }
}

#[test]
fn t55_short_and_long_rows_are_dirty_with_their_line() {
    let input = "1,2\n3\n\"4\n\",5\n6,7,8\n9,10\n\n";
    let found = decode_default(&texts(2), input);
    let dirty: Vec<_> =
        found.dirty.iter().map(|row| (row.place.as_deref(), row.reason.as_str())).collect();
    assert_eq!(
        dirty,
        [
            (Some("line 2"), "expected 2 cells, found 1"),
            (Some("line 5"), "expected 2 cells, found 3"),
        ]
    );
    assert_eq!((found.batch.num_rows(), found.first_line, found.exact), (3, 1, true));
    let gaps: Vec<_> = found.gaps.iter().map(|gap| (gap.row, gap.number)).collect();
    assert_eq!(gaps, [(1, 3), (2, 6)]);
    let dialect = CsvDialect { ragged: Ragged::Error, ..CsvDialect::default() };
    let error = decode(decoder(&dialect, &texts(2)), input.as_bytes(), 100).unwrap_err();
    assert_eq!((error.code.as_str(), error.place.as_deref()), ("CSV-RAGGED", Some("line 2")));
}

#[test]
fn t55_an_unclosed_quote_is_named_and_bounded() {
    let mut input = b"a,b\n\"c\nd\",e\nf,\"".to_vec();
    let decoder = || decoder(&CsvDialect::default(), &texts(2)).at(1000, 100);
    let error = decode(decoder(), &input, 7).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Data);
    assert_eq!(error.place.as_deref(), Some("line 103, byte 1014"));
    input.resize(input.len() + (16 << 20) + 100, b'x');
    let mut stopped = decoder();
    let taken = stopped.decode(&input[..1 << 20], false).unwrap();
    let error = stopped.decode(&input[taken..], false).unwrap_err();
    assert_eq!(error.place.as_deref(), Some("line 103, byte 1014"));
}

#[test]
fn the_limit_of_a_record_is_an_option() {
    let input = format!("a,b\nc,{}\n", "x".repeat(2000));
    for (max_record, expected) in [(1000, Err("CSV-RECORD".to_owned())), (3000, Ok(2))] {
        let dialect = CsvDialect { max_record, ..CsvDialect::default() };
        let found = decode(decoder(&dialect, &texts(2)), input.as_bytes(), usize::MAX / 2);
        let rows = |found: Vec<Decoded>| found.iter().map(|part| part.batch.num_rows()).sum();
        assert_eq!(found.map(rows).map_err(|error: Error| error.code), expected);
    }
}

#[test]
fn a_cr_alone_ends_a_record_where_the_head_has_shown_it() {
    let dialect = CsvDialect { line_end: crate::LineEnd::Cr, ..CsvDialect::default() };
    let input = b"1,\"a\rb\"\r2\r3,c";
    let found = decode(decoder(&dialect, &texts(2)), input, 100).unwrap().remove(0);
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(rows(&found.batch), [[text("1"), text("a\rb")], [text("3"), text("c")]]);
    assert_eq!(found.dirty[0].place.as_deref(), Some("line 3"));
    assert_eq!(found.gaps.iter().map(|gap| gap.number).collect::<Vec<_>>(), [4]);
}

#[test]
fn half_of_a_cr_lf_at_the_end_is_not_data() {
    for (input, count) in [("1,2\r\n3,4\r", 2), ("1,\"2\"\r", 1), ("1,2\r\n\r", 1)] {
        let found = decode_default(&texts(2), input);
        assert_eq!((found.batch.num_rows(), found.dirty.len()), (count, 0), "{input:?}");
        assert!(rows(&found.batch).iter().flatten().flatten().all(|text| !text.contains('\r')));
    }
}

#[test]
fn several_texts_mean_null() {
    let other_nulls = vec!["NULL".to_owned(), "\\N".to_owned()];
    let dialect = CsvDialect { other_nulls, ..CsvDialect::default() };
    let columns = [texts(1).remove(0), Column::new("c2", LogicalType::Int64, true)];
    let input = b"NULL,\\N\n\"NULL\",\nNULLS,7\n";
    let found = decode(decoder(&dialect, &columns), input, 100).unwrap().remove(0);
    assert_eq!(found.dirty, []);
    let nulls =
        |at: usize| (0..3).map(|row| found.batch.column(at).is_null(row)).collect::<Vec<_>>();
    assert_eq!((nulls(0), nulls(1)), (vec![true, false, false], vec![true, true, false]));
}

#[test]
fn only_the_wanted_columns_are_parsed_and_in_the_wanted_order() {
    let wanted =
        [Column::new("c3", LogicalType::Int32, false), Column::new("c1", LogicalType::Date, true)];
    let decoder =
        CsvDecoder::new(&CsvDialect::default(), &names(3), &wanted, &CellWords::default());
    let input = b"2024-01-01,x,1\n,\xFF,2\n2024-01-02,y,\n2024-13-01,y,z\n";
    let found = decode(decoder.unwrap(), input, 100).unwrap().remove(0);
    assert_eq!(found.batch.schema(), schema_of(&wanted));
    assert_eq!(found.batch.num_rows(), 2);
    let dirty: Vec<_> = found
        .dirty
        .iter()
        .map(|row| (row.place.as_deref(), row.column.as_deref(), row.code.as_str()))
        .collect();
    assert_eq!(
        dirty,
        [(Some("line 3"), Some("c3"), "null"), (Some("line 4"), Some("c3"), "parse"),]
    );
}

#[test]
fn no_columns_still_count_rows() {
    let decoder = CsvDecoder::new(&CsvDialect::default(), &names(2), &[], &CellWords::default());
    let found = decode(decoder.unwrap(), b"1,2\n3,4\n", 100).unwrap();
    assert_eq!(found[0].batch.num_rows(), 2);
}

#[test]
fn wrong_columns_are_refused() {
    let refuse = |names: &[&str], wanted: &str| {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let wanted = [Column::new(wanted, LogicalType::TEXT, true)];
        CsvDecoder::new(&CsvDialect::default(), &names, &wanted, &CellWords::default()).err()
    };
    assert_eq!(refuse(&["a", "b"], "c").unwrap().kind, ErrorKind::Schema);
    assert_eq!(refuse(&["a", "a"], "a").unwrap().kind, ErrorKind::Schema);
    assert!(refuse(&["a", "a", "b"], "b").is_none());
}

#[test]
fn batches_end_at_their_rows_or_bytes() {
    let input = "1\n".repeat(BATCH_ROWS + 1);
    let found = decode(decoder(&CsvDialect::default(), &texts(1)), input.as_bytes(), 999);
    let found = found.unwrap();
    let told: Vec<_> =
        found.iter().map(|part| (part.batch.num_rows(), part.first_line, part.exact)).collect();
    assert_eq!(told, [(BATCH_ROWS, 1, true), (1, BATCH_ROWS as u64 + 1, true)]);
    let input = format!("{}\n", "x".repeat(1 << 20)).repeat(9);
    let found = decode_default(&texts(1), &input);
    assert_eq!(found.batch.num_rows(), 4);
}
