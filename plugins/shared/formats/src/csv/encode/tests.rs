//! Tests that what is written reads back identically, and what is refused.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, StringArray, types::*,
};
use arrow_array::{ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::i256;
use proptest::{collection::vec, option, prelude::*, sample::select};
use transload_plugin_api::schema_of;

use super::*;
use crate::{CellWords, CsvDecoder, CsvHead, Decoder, csv::plain};
use transload_plugin_api::ErrorKind;

const ROWS: usize = 20;

fn numbers<A: ArrowPrimitiveType + 'static>(
    logical: &str,
    values: impl Strategy<Value = A::Native> + 'static,
) -> BoxedStrategy<(LogicalType, ArrayRef)>
where
    A::Native: std::fmt::Debug,
{
    let logical: LogicalType = logical.parse().unwrap();
    vec(option::of(values), ROWS)
        .prop_map(move |values| {
            let array = PrimitiveArray::<A>::from_iter(values);
            let array = array.with_data_type(logical.data_type());
            (logical.clone(), Arc::new(array) as ArrayRef)
        })
        .boxed()
}

fn texts(
    logical: &str,
    values: impl Strategy<Value = String> + 'static,
) -> BoxedStrategy<(LogicalType, ArrayRef)> {
    let logical: LogicalType = logical.parse().unwrap();
    vec(option::of(values), ROWS)
        .prop_map(move |values| (logical.clone(), Arc::new(StringArray::from(values)) as ArrayRef))
        .boxed()
}

fn awkward_text() -> impl Strategy<Value = String> {
    let pieces = [
        "", " ", "\"", "\"\"", "'", ",", ";", "\n", "\r", "\r\n", "\\", "#", "NULL", "n", "a",
        "é😀", "0", "\t", "\u{FEFF}", "\0",
    ];
    vec(select(pieces.to_vec()), 0..5).prop_map(|pieces| pieces.concat())
}

fn column() -> impl Strategy<Value = (LogicalType, ArrayRef)> {
    let most = 10i128.pow(38) - 1;
    let wide = i256::from_string(&"9".repeat(76)).unwrap();
    let floats = |value: f64| if value.is_nan() { f64::NAN } else { value };
    prop_oneof![
        texts("text", awkward_text()),
        texts("text", awkward_text()),
        texts(
            "json",
            select(vec!["{}", "[1, 2]", "\"a,b\"", "\" \\\" \"", "null"]).prop_map(str::to_owned)
        ),
        texts(
            "numeric",
            select(vec!["NaN", "-Infinity", "1.50", "1e400", "0"]).prop_map(str::to_owned)
        ),
        vec(option::of(any::<bool>()), ROWS).prop_map(|values| (
            LogicalType::Boolean,
            Arc::new(BooleanArray::from(values)) as ArrayRef
        )),
        vec(option::of(vec(any::<u8>(), 0..9)), ROWS).prop_map(|values| {
            (LogicalType::Binary, Arc::new(BinaryArray::from_iter(values)) as ArrayRef)
        }),
        vec(option::of(any::<[u8; 16]>()), ROWS).prop_map(|values| {
            let array =
                FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 16);
            (LogicalType::Uuid, Arc::new(array.unwrap()) as ArrayRef)
        }),
        numbers::<Int8Type>("int8", any::<i8>()),
        numbers::<Int16Type>("int16", any::<i16>()),
        numbers::<Int32Type>("int32", any::<i32>()),
        numbers::<Int64Type>("int64", any::<i64>()),
        numbers::<UInt8Type>("uint8", any::<u8>()),
        numbers::<UInt16Type>("uint16", any::<u16>()),
        numbers::<UInt32Type>("uint32", any::<u32>()),
        numbers::<UInt64Type>("uint64", any::<u64>()),
        numbers::<Float32Type>("float32", any::<f32>()),
        numbers::<Float64Type>("float64", any::<f64>().prop_map(floats)),
        numbers::<Decimal128Type>("decimal(15,2)", -999_999_999_999_999..=999_999_999_999_999i128),
        numbers::<Decimal128Type>("decimal(5,5)", -99_999..=99_999i128),
        numbers::<Decimal128Type>("decimal(38,0)", -most..=most),
        numbers::<Decimal128Type>("decimal(38,20)", -most..=most),
        numbers::<Decimal256Type>(
            "decimal(76,30)",
            any::<i128>().prop_map(move |value| {
                wide.wrapping_div(i256::from_i128(value.checked_abs().map_or(1, |v| v.max(1))))
            })
        ),
        numbers::<Date32Type>("date", any::<i32>()),
        numbers::<Date32Type>("date", -800_000..3_000_000i32),
        numbers::<Time64MicrosecondType>("time", 0..86_400_000_000i64),
        numbers::<Time64NanosecondType>("time(9)", 0..86_400_000_000_000i64),
        numbers::<DurationMicrosecondType>("duration", any::<i64>()),
        numbers::<TimestampMicrosecondType>("timestamp", any::<i64>()),
        numbers::<TimestampNanosecondType>("timestamp(9)", any::<i64>()),
        numbers::<TimestampMicrosecondType>("timestamptz", any::<i64>()),
        numbers::<TimestampNanosecondType>("timestamptz(9)", any::<i64>()),
    ]
}

fn encode(encoder: &mut CsvEncoder, batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    encoder.start(&mut out)?;
    encoder.encode(batch, &mut out)?;
    encoder.end(&mut out)?;
    Ok(out)
}

fn decode(
    dialect: &CsvDialect,
    columns: &[Column],
    bytes: &[u8],
    words: &CellWords,
) -> RecordBatch {
    let head = CsvHead::read(dialect, bytes, true).unwrap().unwrap();
    let names = if dialect.header {
        head.names.clone()
    } else {
        columns.iter().map(|column| column.name.clone()).collect()
    };
    let mut decoder = CsvDecoder::new(dialect, &names, columns, words).unwrap();
    let rows = &bytes[head.bytes as usize..];
    assert_eq!(decoder.decode(rows, true).unwrap(), rows.len());
    let found = decoder.flush().unwrap().unwrap();
    assert_eq!(found.dirty, []);
    found.batch
}

fn batch(columns: Vec<(LogicalType, ArrayRef)>) -> (Vec<Column>, RecordBatch) {
    let (types, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let columns: Vec<_> = types
        .into_iter()
        .enumerate()
        .map(|(number, logical)| Column::new(format!("c{}", number + 1), logical, true))
        .collect();
    let batch = RecordBatch::try_new(schema_of(&columns), arrays).unwrap();
    (columns, batch)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn t54_what_is_written_reads_back_identically(
        dialect in plain::dialects(),
        header in any::<bool>(),
        base64 in any::<bool>(),
        columns in vec(column(), 1..6),
    ) {
        let dialect = CsvDialect { header, ..dialect };
        let (columns, batch) = batch(columns);
        let binary = if base64 { BinaryText::Base64 } else { BinaryText::Hex };
        let words = CellWords { binary, ..CellWords::default() };
        let mut encoder = CsvEncoder::new(&dialect, &columns, binary).unwrap();
        let bytes = encode(&mut encoder, &batch).unwrap();
        let refused = encoder.take_refused();
        prop_assert!(refused.is_empty() || dialect.quote.is_none());
        prop_assert!(refused.iter().all(|row| row.code == "quote"));
        let kept: arrow_array::BooleanArray = (0..ROWS as u64)
            .map(|row| Some(refused.iter().all(|refused| refused.row != row)))
            .collect();
        let kept = arrow_select::filter::filter_record_batch(&batch, &kept).unwrap();
        prop_assert_eq!(decode(&dialect, &columns, &bytes, &words), kept);
    }
}

#[test]
fn lists_are_json_texts() {
    let lists = [Some(vec![Some(1.5), None]), None, Some(vec![]), Some(vec![Some(f64::NAN)])];
    let lists = arrow_array::ListArray::from_iter_primitive::<Float64Type, _, _>(lists);
    let logical: LogicalType = "list<float64>".parse().unwrap();
    let arrow_schema::DataType::List(field) = logical.data_type() else { panic!("a list") };
    let (_, offsets, values, nulls) = lists.into_parts();
    let lists = arrow_array::ListArray::new(field, offsets, values, nulls);
    let (columns, batch) = batch(vec![(logical, Arc::new(lists))]);
    let mut encoder = CsvEncoder::new(&CsvDialect::default(), &columns, BinaryText::Hex).unwrap();
    let bytes = encode(&mut encoder, &batch).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), "c1\n\"[1.5,null]\"\n\n[]\n");
    let refused = encoder.take_refused();
    assert_eq!((refused.len(), refused[0].row, &*refused[0].code), (1, 3, "range"));
}

#[test]
fn a_record_beyond_the_limit_is_left_out_and_named() {
    let array = Arc::new(StringArray::from(vec!["x".repeat(99), "x".repeat(100), "y".into()]));
    let (columns, batch) = batch(vec![(LogicalType::TEXT, array)]);
    let dialect = CsvDialect { max_record: 99, ..CsvDialect::default() };
    let mut encoder = CsvEncoder::new(&dialect, &columns, BinaryText::Hex).unwrap();
    let bytes = encode(&mut encoder, &batch).unwrap();
    let refused = encoder.take_refused();
    assert_eq!(
        refused.iter().map(|row| (row.row, &*row.code)).collect::<Vec<_>>(),
        [(1, "length")]
    );
    let kept = decode(&dialect, &columns, &bytes, &CellWords::default());
    assert_eq!(kept.num_rows(), 2);
}

#[test]
fn names_that_the_reader_would_refuse_are_refused() {
    let columns = |name: &str| [Column::new(name, LogicalType::TEXT, true)];
    let new = |dialect: &CsvDialect, name: &str| {
        CsvEncoder::new(dialect, &columns(name), BinaryText::Hex).map(drop)
    };
    let plain = CsvDialect { quote: None, ..CsvDialect::default() };
    let headless = CsvDialect { header: false, ..plain.clone() };
    for (dialect, name, ok) in [
        (&CsvDialect::default(), "a\tb\nc", true),
        (&CsvDialect::default(), "a\u{1b}", false),
        (&plain, "a\nb", false),
        (&headless, "a\nb", true),
    ] {
        assert_eq!(new(dialect, name).is_ok(), ok, "{name:?}");
    }
    let mut encoder =
        CsvEncoder::new(&CsvDialect::default(), &columns("a\tb"), BinaryText::Hex).unwrap();
    let mut out = Vec::new();
    encoder.start(&mut out).unwrap();
    let head = CsvHead::read(&CsvDialect::default(), &out, true).unwrap().unwrap();
    assert_eq!(head.names, ["a\tb"]);
    let many: Vec<_> = (0..=COLUMN_LIMIT).map(|n| columns(&format!("c{n}"))[0].clone()).collect();
    assert!(CsvEncoder::new(&CsvDialect::default(), &many, BinaryText::Hex).is_err());
}

fn written(dialect: CsvDialect, rows: &[Option<&str>]) -> Result<(String, Vec<DirtyRow>)> {
    let array = Arc::new(StringArray::from(rows.to_vec())) as ArrayRef;
    let (columns, batch) = batch(vec![(LogicalType::TEXT, array)]);
    let mut encoder = CsvEncoder::new(&dialect, &columns, BinaryText::Hex)?;
    let text = String::from_utf8(encode(&mut encoder, &batch)?).unwrap();
    Ok((text, encoder.take_refused()))
}

#[test]
fn t54_only_what_needs_quotes_has_them() {
    let rows = [Some("a b"), Some(" "), None, Some(""), Some("a\rb"), Some("\"x\","), Some("#x")];
    let (text, _) = written(CsvDialect::default(), &rows).unwrap();
    assert_eq!(text, "c1\na b\n \n\n\"\"\n\"a\rb\"\n\"\"\"x\"\",\"\n#x\n");
    let dialect = CsvDialect { comment: Some(b'#'), null: "-".into(), ..CsvDialect::default() };
    let (text, _) = written(dialect, &[Some("#x"), Some("x#"), Some("-"), None]).unwrap();
    assert_eq!(text, "c1\n\"#x\"\nx#\n\"-\"\n-\n");
}

#[test]
fn what_would_read_back_as_something_else_is_refused() {
    let dialect = CsvDialect { quote: None, ..CsvDialect::default() };
    for text in ["a,b", "a\nb", "a\r", ""] {
        let (written, refused) = written(dialect.clone(), &[Some("x"), Some(text)]).unwrap();
        assert_eq!(written, "c1\nx\n", "{text:?}");
        assert_eq!((refused[0].row, refused[0].column.as_deref()), (1, Some("c1")));
    }
    assert_eq!(written(dialect, &[Some("a\"b"), None]).unwrap().1, []);
}

#[test]
fn a_batch_of_other_columns_is_refused() {
    let array = Arc::new(StringArray::from(vec!["x"])) as ArrayRef;
    let (_, batch) = batch(vec![(LogicalType::TEXT, array)]);
    for columns in [vec![], vec![Column::new("c1", LogicalType::Int32, true)]] {
        let mut encoder =
            CsvEncoder::new(&CsvDialect::default(), &columns, BinaryText::Hex).unwrap();
        assert_eq!(encode(&mut encoder, &batch).unwrap_err().kind, ErrorKind::Schema);
    }
}
