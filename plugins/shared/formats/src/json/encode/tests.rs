//! Tests the text of rows, and the rows that JSON cannot hold.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, TimestampMicrosecondArray,
};
use proptest::prelude::*;
use transload_plugin_api::schema_of;
use transload_values::Pattern;

use super::*;
use crate::{CellWords, Decoder, JsonDecoder, UnknownKeys};

fn encode(shape: JsonShape, columns: &[(&str, LogicalType, ArrayRef)]) -> (String, Vec<DirtyRow>) {
    let (columns, arrays): (Vec<_>, Vec<_>) = columns
        .iter()
        .map(|(name, logical, array)| {
            (Column::new(*name, logical.clone(), true), Arc::clone(array))
        })
        .unzip();
    let batch = RecordBatch::try_new(schema_of(&columns), arrays).unwrap();
    let mut encoder = JsonEncoder::new(shape, &columns, BinaryText::Hex);
    let mut out = Vec::new();
    encoder.start(&mut out).unwrap();
    encoder.encode(&batch, &mut out).unwrap();
    let dirty = encoder.take_refused();
    encoder.end(&mut out).unwrap();
    (String::from_utf8(out).unwrap(), dirty)
}

fn strings(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[test]
fn t09_null_and_empty_text_differ() {
    let columns = [
        ("n", LogicalType::Int64, Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef),
        ("t \"x\"", LogicalType::TEXT, strings(&[None, Some("")])),
    ];
    let (lines, _) = encode(JsonShape::Lines, &columns);
    assert_eq!(lines, "{\"n\":1,\"t \\\"x\\\"\":null}\n{\"n\":null,\"t \\\"x\\\"\":\"\"}\n");
    let (array, _) = encode(JsonShape::Array, &columns);
    assert_eq!(array, "[\n{\"n\":1,\"t \\\"x\\\"\":null},\n{\"n\":null,\"t \\\"x\\\"\":\"\"}\n]\n");
}

#[test]
fn t34_numbers_and_json_keep_their_digits() {
    let numbers = [".5", "+5", "007", "-0.10", "12345678901234567890", "1e400", "5."];
    let all = numbers.map(Some);
    let (lines, dirty) = encode(JsonShape::Lines, &[("n", LogicalType::Numeric, strings(&all))]);
    let expected = ["0.5", "5", "7", "-0.10", "12345678901234567890", "1e400", "5"];
    assert_eq!(lines, expected.map(|n| format!("{{\"n\":{n}}}\n")).concat());
    assert_eq!(dirty, []);
    let json = strings(&[Some("{\"b\":1.10,\n \"a\":12345678901234567890}")]);
    let (lines, _) = encode(JsonShape::Lines, &[("j", LogicalType::Json, json)]);
    assert_eq!(lines, "{\"j\":{\"b\":1.10,  \"a\":12345678901234567890}}\n");
}

#[test]
fn dates_and_times_have_the_form_of_the_job() {
    let columns = [
        Column::new("d", LogicalType::Date, true),
        Column::new("t", LogicalType::Timestamp { precision: 6 }, true),
        Column::new("n", "decimal(9,2)".parse().unwrap(), true),
    ];
    let dates = Date32Array::from(vec![Some(20_787), None, Some(20_787)]);
    let times = TimestampMicrosecondArray::from(vec![Some(0), None, Some(1_000_000)]);
    let numbers = Decimal128Array::from(vec![150, 150, 150]).with_precision_and_scale(9, 2);
    let arrays: Vec<ArrayRef> = vec![Arc::new(dates), Arc::new(times), Arc::new(numbers.unwrap())];
    let batch = RecordBatch::try_new(schema_of(&columns), arrays).unwrap();
    let forms = Forms {
        date: Pattern::new("\"%d.%m.%Y\"").ok(),
        timestamp: Pattern::new("%d.%m.%Y %H:%M").ok(),
        separators: Separators { decimal_comma: true, thousands: None },
        ..Forms::default()
    };
    let encoder = JsonEncoder::new(JsonShape::Lines, &columns, BinaryText::Hex);
    let (mut encoder, mut out) = (encoder.with_forms(&forms), Vec::new());
    encoder.encode(&batch, &mut out).unwrap();
    let first = r#"{"d":"\"30.11.2026\"","t":"01.01.1970 00:00","n":1.50}"#;
    let second = r#"{"d":null,"t":null,"n":1.50}"#;
    assert_eq!(String::from_utf8(out).unwrap(), format!("{first}\n{second}\n"));
    let dirty = encoder.take_refused();
    assert_eq!((dirty.len(), dirty[0].row, dirty[0].code.as_str()), (1, 2, "range"));
    assert_eq!(dirty[0].value.as_deref(), Some("1970-01-01 00:00:01"), "a second is cut");
}

#[test]
fn rows_that_json_cannot_hold_are_named_and_left_out() {
    let floats = Arc::new(Float64Array::from(vec![f64::NAN, 1.5, f64::INFINITY])) as ArrayRef;
    let numbers = strings(&[Some("1"), Some("NaN"), Some("2")]);
    for shape in [JsonShape::Lines, JsonShape::Array] {
        let columns = [
            ("f", LogicalType::Float64, Arc::clone(&floats)),
            ("n", LogicalType::Numeric, Arc::clone(&numbers)),
        ];
        let (text, dirty) = encode(shape, &columns);
        assert_eq!(text.trim_ascii().trim_matches(['[', ']', '\n']), "");
        let faults: Vec<_> = dirty
            .iter()
            .map(|d| (d.row, d.column.as_deref().unwrap(), d.value.as_deref().unwrap()))
            .collect();
        assert_eq!(faults, [(0, "f", "NaN"), (1, "n", "NaN"), (2, "f", "Infinity")]);
    }
}

#[test]
fn the_document_null_is_not_taken_for_no_document() {
    let documents = strings(&[None, Some("null"), Some("[null]")]);
    let (lines, dirty) = encode(JsonShape::Lines, &[("j", LogicalType::Json, documents)]);
    assert_eq!(lines, "{\"j\":null}\n{\"j\":[null]}\n");
    assert_eq!(dirty.iter().map(|row| row.row).collect::<Vec<_>>(), [1]);
}

#[test]
fn what_the_reader_would_refuse_is_left_out() {
    let nested = |levels: usize| "[".repeat(levels) + "\"]\"" + &"]".repeat(levels);
    let deep = nested(MAX_DOCUMENT_DEPTH + 1);
    let documents =
        [&*nested(MAX_DOCUMENT_DEPTH), &*deep, "[]", &*format!("\"{}\"", "[".repeat(300))];
    let documents = strings(&documents.map(Some));
    let columns = [Column::new("j", LogicalType::Json, true)];
    let batch = RecordBatch::try_new(schema_of(&columns), vec![documents]).unwrap();
    for (max_record, expected) in
        [(MAX_RECORD, vec![(1, "range")]), (307, vec![(1, "range"), (3, "length")])]
    {
        for shape in [JsonShape::Lines, JsonShape::Array] {
            let encoder = JsonEncoder::new(shape, &columns, BinaryText::Hex);
            let mut encoder = encoder.max_record(max_record);
            let mut out = Vec::new();
            encoder.start(&mut out).unwrap();
            encoder.encode(&batch, &mut out).unwrap();
            encoder.end(&mut out).unwrap();
            let refused = encoder.take_refused();
            let refused: Vec<_> = refused.iter().map(|row| (row.row, &*row.code)).collect();
            assert_eq!(refused, expected);
            let decoder =
                JsonDecoder::new(shape, &columns, &CellWords::default(), [], UnknownKeys::Dirty);
            let mut decoder = decoder.unwrap().max_record(max_record);
            assert_eq!(decoder.decode(&out, true).unwrap(), out.len());
            let found = decoder.flush().unwrap().unwrap();
            assert_eq!((found.batch.num_rows(), found.dirty), (4 - refused.len(), vec![]));
        }
    }
}

#[test]
fn array_commas_skip_left_out_rows() {
    let floats = Arc::new(Float64Array::from(vec![f64::NAN, 1.5, f64::NAN, 2.5])) as ArrayRef;
    let (text, dirty) = encode(JsonShape::Array, &[("f", LogicalType::Float64, floats)]);
    assert_eq!(text, "[\n{\"f\":1.5},\n{\"f\":2.5}\n]\n");
    assert_eq!(dirty.len(), 2);
}

proptest! {
    #[test]
    fn strings_read_back_by_serde_json(text in any::<String>()) {
        let mut out = Vec::new();
        write_string(text.as_bytes(), &mut out);
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }
}
