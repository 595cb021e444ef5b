//! Tests the decoder with small inputs, broken inputs, and the output of serde_json.

use arrow_array::{Array, cast::AsArray, types::*};
use proptest::prelude::*;

use super::*;
use transload_plugin_api::ErrorKind;

fn columns() -> Vec<Column> {
    vec![
        Column::new("id", LogicalType::Int64, false),
        Column::new("name", LogicalType::TEXT, true),
        Column::new("doc", LogicalType::Json, true),
    ]
}

fn decoder(shape: JsonShape, columns: &[Column], unknown: UnknownKeys) -> JsonDecoder {
    JsonDecoder::new(shape, columns, &CellWords::default(), ["extra"], unknown).unwrap()
}

/// Decodes in blocks of `step` bytes; returns every row as the texts of its cells.
fn rows_of(
    decoder: &mut JsonDecoder,
    input: &[u8],
    step: usize,
) -> Result<(Vec<Vec<String>>, Vec<DirtyRow>)> {
    let (mut rows, mut dirty) = (Vec::new(), Vec::new());
    let (mut start, mut end) = (0, 0);
    loop {
        end = input.len().min(end + step);
        let last = end == input.len();
        start += decoder.decode(&input[start..end], last)?;
        if let Some(decoded) = decoder.flush()? {
            rows.extend((0..decoded.batch.num_rows()).map(|row| texts(&decoded.batch, row)));
            dirty.extend(decoded.dirty);
        }
        if last {
            assert_eq!(start, end);
            return Ok((rows, dirty));
        }
    }
}

fn texts(batch: &RecordBatch, row: usize) -> Vec<String> {
    let text = |array: &dyn Array| match array.data_type() {
        _ if array.is_null(row) => "NULL".to_owned(),
        arrow_schema::DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        _ => array.as_primitive::<Int64Type>().value(row).to_string(),
    };
    batch.columns().iter().map(|array| text(array)).collect()
}

fn lines(input: &str) -> (Vec<Vec<String>>, Vec<DirtyRow>) {
    let mut decoder = decoder(JsonShape::Lines, &columns(), UnknownKeys::Ignore);
    rows_of(&mut decoder, input.as_bytes(), 1 << 20).unwrap()
}

fn faults(dirty: &[DirtyRow]) -> Vec<(&str, &str, &str)> {
    let text = |text: &'_ Option<String>| text.clone().unwrap_or_default().leak() as &str;
    dirty.iter().map(|d| (text(&d.place), text(&d.column), d.code.as_str())).collect()
}

#[test]
fn keys_in_any_order_missing_or_null() {
    let (rows, dirty) = lines(concat!(
        "\u{feff}{\"id\":1,\"name\":\"a\",\"doc\":{\"x\": [1]}}\r\n",
        "\n",
        " { \"name\" : null , \"extra\" : [{}] , \"id\" : 2 }\n",
        "{\"doc\":null,\"new\":1,\"id\":-3,\"name\":\"\"}",
    ));
    assert_eq!(rows, [["1", "a", "{\"x\": [1]}"], ["2", "NULL", "NULL"], ["-3", "", "NULL"]]);
    assert_eq!(dirty, []);
}

#[test]
fn t34_nested_values_and_numbers_keep_their_bytes() {
    let (rows, dirty) = lines(concat!(
        "{\"id\":1,\"name\":12345678901234567890.10,\"doc\":{\"b\":1.10,\"a\":1e400,\"a\":2}}\n",
        "{\"id\":2,\"name\":[1, 2],\"doc\":\"t\\u0041\"}\n",
        "{\"id\":3,\"name\":true,\"doc\":1.10}\n",
    ));
    assert_eq!(dirty, []);
    assert_eq!(
        rows,
        [
            ["1", "12345678901234567890.10", "{\"b\":1.10,\"a\":1e400,\"a\":2}"],
            ["2", "[1, 2]", "\"t\\u0041\""],
            ["3", "true", "1.10"],
        ]
    );
}

#[test]
fn escapes_are_resolved() {
    let (rows, _) = lines("{\"id\":1,\"n\\u0061me\":\"\\ud83d\\ude00\\u0000\\n\\\"\\/\"}\n");
    assert_eq!(rows, [["1", "😀\0\n\"/", "NULL"]]);
}

#[test]
fn wrong_lines_are_dirty_and_the_next_one_is_read() {
    let (rows, dirty) = lines(concat!(
        "{\"id\":1}\n",
        "{\"id\":2\n",
        "{\"id\":3}}\n",
        "[]\n",
        "{\"id\":4,\"id\":4}\n",
        "{\"name\":\"x\"}\n",
        "{\"id\":1.5}\n",
        "{\"id\":99999999999999999999}\n",
        "{\"id\":5,\"name\":\"\\ud800\"}\n",
        "{\"id\":6,\"name\":\"a\tb\"}\n",
        "{\"id\":null}\n",
        "{\"id\":7,}\n",
        "{\"id\":8}\n",
    ));
    assert_eq!(rows, [["1", "NULL", "NULL"], ["8", "NULL", "NULL"]]);
    assert_eq!(
        faults(&dirty),
        [
            ("line 2", "", "parse"),
            ("line 3", "", "parse"),
            ("line 4", "", "parse"),
            ("line 5", "", "duplicate"),
            ("line 6", "id", "null"),
            ("line 7", "id", "parse"),
            ("line 8", "id", "range"),
            ("line 9", "name", "parse"),
            ("line 10", "", "parse"),
            ("line 11", "id", "null"),
            ("line 12", "", "parse"),
        ]
    );
    assert_eq!(
        dirty[0].reason,
        "byte 8: expected the rest of the object, found `the end of the line`"
    );
    assert_eq!(dirty[2].reason, "byte 1: expected an object, found `[]`");
}

#[test]
fn t30_text_that_is_not_utf8_is_dirty() {
    let mut decoder = decoder(JsonShape::Lines, &columns(), UnknownKeys::Ignore);
    let input = b"{\"id\":1,\"name\":\"\xe9\"}\n{\"id\":2,\"doc\":[\"\xe9\"]}\n{\"id\":3}\n";
    let (rows, dirty) = rows_of(&mut decoder, input, 1 << 20).unwrap();
    assert_eq!(rows, [["3", "NULL", "NULL"]]);
    assert_eq!(faults(&dirty), [("line 1", "name", "utf8"), ("line 2", "doc", "utf8")]);
}

#[test]
fn unknown_keys_are_counted_or_dirty() {
    let input = b"{\"id\":1,\"new\":1}\n{\"id\":2,\"extra\":1}\n{\"id\":3,\"new\":1}\n";
    let mut ignoring = decoder(JsonShape::Lines, &columns(), UnknownKeys::Ignore);
    assert_eq!(rows_of(&mut ignoring, input, 1 << 20).unwrap().0.len(), 3);
    assert_eq!(ignoring.unknown_keys(), [("new".to_owned(), 2)]);
    let mut strict = decoder(JsonShape::Lines, &columns(), UnknownKeys::Dirty);
    let (rows, dirty) = rows_of(&mut strict, input, 1 << 20).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(faults(&dirty), [("line 1", "", "unknown"), ("line 3", "", "unknown")]);
    assert!(dirty[0].reason.starts_with("the key `new` is not in the schema: "), "{dirty:?}");
}

/// Whatever is wrong inside of nested JSON, the row is dirty in a column of any type.
#[test]
fn escapes_in_nested_values_are_checked_for_text_as_for_json() {
    for column in ["name", "doc"] {
        for (nested, is_json) in [
            (r#"["\u12"]"#, false),
            (r#"["\x"]"#, false),
            (r#"{"\q":1}"#, false),
            (r#"["\\", "\u00e9\n", "\ud800"]"#, true),
        ] {
            let row = format!("{{\"id\":1,\"{column}\":{nested}}}\n");
            let (rows, dirty) = lines(&row);
            assert_eq!(rows.len(), usize::from(is_json), "{row}");
            let expected = if is_json { vec![] } else { vec![("line 1", column, "parse")] };
            assert_eq!(faults(&dirty), expected, "{row}");
        }
    }
}

#[test]
fn a_key_with_an_invalid_escape_makes_its_row_dirty() {
    let (rows, dirty) = lines("{\"id\":1,\"a\\x\":2}\n");
    assert_eq!((rows.len(), faults(&dirty)), (0, vec![("line 1", "", "parse")]));
}

#[test]
fn a_key_that_is_not_utf_8_makes_its_row_dirty_even_if_it_would_be_left_out() {
    let mut decoder = decoder(JsonShape::Lines, &columns(), UnknownKeys::Ignore);
    let input = b"{\"id\":1,\"a\xff\":2}\n{\"id\":2}\n";
    let (rows, dirty) = rows_of(&mut decoder, input, 1 << 20).unwrap();
    assert_eq!((rows.len(), faults(&dirty)), (1, vec![("line 1", "", "parse")]));
}

#[test]
fn clean_rows_behind_dirty_ones_have_their_own_lines() {
    let input = "{\"id\":1}\n\n{\"id\":\"x\"}\n{\"id\":2}\n{\"id\":3}\nx\n{\"id\":4}\n";
    for shape in [JsonShape::Lines, JsonShape::Array] {
        let input = match shape {
            JsonShape::Lines => input.to_owned(),
            JsonShape::Array => {
                "[{\"id\":1},\n\n{\"id\":\"x\"},\n{\"id\":2},\n{\"id\":3},\n\n{\"id\":4}]"
                    .to_owned()
            }
        };
        let mut decoder = decoder(shape, &columns(), UnknownKeys::Dirty);
        decoder.decode(input.as_bytes(), true).unwrap();
        let found = decoder.flush().unwrap().unwrap();
        let gaps: Vec<_> = found.gaps.iter().map(|gap| (gap.row, gap.number)).collect();
        assert_eq!((found.first_line, found.exact), (1, true));
        assert_eq!(gaps, [(1, 4), (3, 7)], "{shape:?}");
    }
}

#[test]
fn arrays_are_read_over_any_blocks() {
    let input = "\u{feff} [ {\"id\":1,\"name\":\"a,]}\\\"\"}\n, {\"id\":2},{\"id\":\"x\"},\n\n{\"id\":4} ] \n";
    for step in 1..input.len() {
        let mut decoder = decoder(JsonShape::Array, &columns(), UnknownKeys::Ignore);
        let (rows, dirty) = rows_of(&mut decoder, input.as_bytes(), step).unwrap();
        let ids: Vec<_> = rows.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(ids, ["1", "2", "4"]);
        assert_eq!(faults(&dirty), [("line 2", "id", "parse")]);
    }
    let mut empty = decoder(JsonShape::Array, &columns(), UnknownKeys::Ignore);
    assert_eq!(rows_of(&mut empty, b"[\n]\n", 1).unwrap(), (vec![], vec![]));
}

#[test]
fn broken_arrays_are_errors_with_their_line() {
    for (input, line) in [
        ("", 1),
        ("{\"id\":1}", 1),
        ("[{\"id\":1}\n", 2),
        ("[{\"id\":1}\n,", 2),
        ("[{\"id\":1},\n]", 2),
        ("[{\"id\":1}\n{\"id\":1}]", 2),
        ("[{\"id\":1},\n\n1]", 3),
        ("[{\"id\":1},\n{\"id\":\n01}]", 3),
        ("[]\n[]", 2),
        ("[{\"id\":1},\n{\"id\":1", 2),
    ] {
        for step in [1, 3, 100] {
            let mut decoder = decoder(JsonShape::Array, &columns(), UnknownKeys::Ignore);
            let error = rows_of(&mut decoder, input.as_bytes(), step).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Data, "{input}");
            assert_eq!(error.place.unwrap(), format!("line {line}"), "{input}");
        }
    }
}

#[test]
fn an_endless_record_is_an_error() {
    let mut input = b"{\"id\":1}\n{\"name\":\"".to_vec();
    input.resize(MAX_RECORD + 100, b'x');
    let mut limited = decoder(JsonShape::Lines, &columns(), UnknownKeys::Ignore);
    let error = limited.decode(&input, false).unwrap_err();
    assert_eq!((error.code.as_str(), error.place.as_deref()), ("JSON-LENGTH", Some("line 2")));
    let raised = decoder(JsonShape::Lines, &columns(), UnknownKeys::Ignore);
    raised.max_record(MAX_RECORD + 100).decode(&input, false).unwrap();
}

#[test]
fn reading_goes_on_behind_a_record() {
    for (shape, rest) in [(JsonShape::Lines, "{\"id\":2}\n"), (JsonShape::Array, ",{\"id\":2}]")] {
        let mut decoder = decoder(shape, &columns(), UnknownKeys::Ignore).after_a_record(7);
        let (rows, _) = rows_of(&mut decoder, rest.as_bytes(), 100).unwrap();
        assert_eq!(rows, [["2", "NULL", "NULL"]]);
    }
}

#[test]
fn a_batch_ends_when_it_is_full() {
    let input = "{\"id\":1}\n".repeat(BATCH_ROWS + 1);
    let mut decoder = decoder(JsonShape::Lines, &columns(), UnknownKeys::Ignore);
    let taken = decoder.decode(input.as_bytes(), true).unwrap();
    assert!(decoder.is_full());
    let first = decoder.flush().unwrap().unwrap();
    assert_eq!((first.batch.num_rows(), first.first_line, first.exact), (BATCH_ROWS, 1, true));
    decoder.decode(&input.as_bytes()[taken..], true).unwrap();
    let second = decoder.flush().unwrap().unwrap();
    assert_eq!((second.batch.num_rows(), second.first_line), (1, BATCH_ROWS as u64 + 1));
    assert!(decoder.flush().unwrap().is_none());
}

proptest! {
    #[test]
    fn reads_what_serde_json_writes(
        rows in proptest::collection::vec((any::<i64>(), any::<Option<String>>()), 0..20),
        step in 1usize..200,
        array in any::<bool>(),
    ) {
        let value = |(id, name): &(i64, Option<String>)| serde_json::json!({"id": id, "name": name});
        let values: Vec<_> = rows.iter().map(value).collect();
        let (shape, text) = if array {
            (JsonShape::Array, serde_json::to_string_pretty(&values).unwrap())
        } else {
            (JsonShape::Lines, values.iter().map(|value| format!("{value}\n")).collect())
        };
        let mut decoder = decoder(shape, &columns()[..2], UnknownKeys::Ignore);
        let (found, dirty) = rows_of(&mut decoder, text.as_bytes(), step).unwrap();
        let expected: Vec<_> = rows
            .iter()
            .map(|(id, name)| vec![id.to_string(), name.clone().unwrap_or("NULL".to_owned())])
            .collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(dirty, vec![]);
    }
}

#[test]
fn a_text_that_is_not_utf8_proposes_its_encoding() {
    let columns = [Column::new("t", LogicalType::TEXT, true)];
    let keys = ["t"].into_iter();
    let words = CellWords::default();
    let decoder = JsonDecoder::new(JsonShape::Lines, &columns, &words, keys, UnknownKeys::Dirty);
    let mut decoder = decoder.unwrap();
    decoder.decode(b"{\"t\":\"caf\xe9 cr\xe8me, d\xe9j\xe0 vu\"}\n", true).unwrap();
    let dirty = decoder.flush().unwrap().unwrap().dirty;
    assert_eq!(dirty[0].code, "utf8");
    assert!(dirty[0].reason.contains("is it WINDOWS-1252? encoding = "), "{}", dirty[0].reason);
}
