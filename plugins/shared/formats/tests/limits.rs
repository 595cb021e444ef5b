//! Whatever a writer takes, the reader with the same options reads back, in every format; what is
//! beyond a limit is a dirty row of the writer and never an error of the reader.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic, its functions too")]

use std::{
    io::{Cursor, Read},
    ops::Range,
    sync::Arc,
};

use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use serde_json::json;
use transload_formats::{
    CsvDecoder, CsvHead, Decoder, Encoding, JsonDecoder, JsonShape, ParquetDecoder, ParquetFile,
    RandomAccess, ReadOptions, UnknownKeys, WriteOptions,
};
use transload_plugin_api::{Column, LogicalType, Options, Result, schema_of};

/// The largest record or value of these tests, in bytes.
const MOST: usize = 300;

struct Stored(Bytes);

impl RandomAccess for Stored {
    fn name(&self) -> &str {
        "x.parquet"
    }

    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(self.0.slice(range.start as usize..range.end as usize))))
    }

    fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let slice = |range: &Range<u64>| self.0.slice(range.start as usize..range.end as usize);
        Ok(ranges.iter().map(slice).collect())
    }

    fn is_distant(&self) -> bool {
        false
    }
}

fn columns() -> Vec<Column> {
    vec![
        Column::new("id", LogicalType::Int64, false),
        Column::new("text", LogicalType::TEXT, true),
        Column::new("document", LogicalType::Json, true),
    ]
}

/// The file of a batch, and the rows that the writer refused.
fn written(name: &str, batch: &RecordBatch) -> (Vec<u8>, Vec<u64>) {
    let options = WriteOptions::parse(&Options::from_pairs([("max_record", json!(MOST))])).unwrap();
    let mut encoder = Encoding::new(&options, name).unwrap().encoder(&columns()).unwrap();
    let mut out = Vec::new();
    encoder.start(&mut out).unwrap();
    encoder.encode(batch, &mut out).unwrap();
    let refused = encoder.take_refused();
    encoder.commit(&mut out).unwrap();
    encoder.end(&mut out).unwrap();
    assert!(refused.iter().all(|row| row.code == "length" || row.code == "range"), "{refused:?}");
    (out, refused.iter().map(|row| row.row).collect())
}

/// The rows of a file; none of them may be dirty.
fn read(name: &str, bytes: Vec<u8>) -> Vec<RecordBatch> {
    let options = ReadOptions::parse(&Options::from_pairs([("max_record", json!(MOST))])).unwrap();
    if name.ends_with("parquet") {
        let file = ParquetFile::open(Arc::new(Stored(bytes.into()))).unwrap();
        let groups = 0..file.row_groups().len();
        let decoder = ParquetDecoder::new(&file, groups, 0, &columns()).unwrap();
        let mut decoder = decoder.max_value(MOST);
        return std::iter::from_fn(|| decoder.next_batch().unwrap()).map(|it| it.batch).collect();
    }
    let (columns, words, mut from) = (columns(), options.words(), 0);
    let mut decoder: Box<dyn Decoder> = if name.ends_with("csv") {
        let dialect = options.dialect(false).unwrap();
        let head = CsvHead::read(&dialect, &bytes, true).unwrap().unwrap();
        from = head.bytes as usize;
        let dialect = head.dialect(&dialect);
        Box::new(CsvDecoder::new(&dialect, &head.names, &columns, &words).unwrap())
    } else {
        let shape = if name.ends_with("jsonl") { JsonShape::Lines } else { JsonShape::Array };
        let decoder = JsonDecoder::new(shape, &columns, &words, [], UnknownKeys::Dirty).unwrap();
        Box::new(decoder.max_record(MOST))
    };
    assert_eq!(decoder.decode(&bytes[from..], true).unwrap(), bytes.len() - from);
    let decoded = decoder.flush().unwrap();
    decoded
        .into_iter()
        .map(|decoded| {
            assert_eq!(decoded.dirty, []);
            decoded.batch
        })
        .collect()
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c,\"\r\n\\\\é]{0,8}", "(ab\"|x,|\n){0,160}", "[a-z]{200,400}"]
}

fn documents() -> impl Strategy<Value = String> {
    let nested = (0usize..140).prop_map(|depth| "[".repeat(depth) + "1" + &"]".repeat(depth));
    prop_oneof![Just("null".to_owned()), Just("{\"a\": [1.50,\n \"\\u00e9\"]}".to_owned()), nested]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        rows in vec((any::<i64>(), option::of(texts()), option::of(documents())), 1..12),
    ) {
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
            Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1.as_deref()))),
            Arc::new(StringArray::from_iter(rows.iter().map(|row| row.2.as_deref()))),
        ];
        let batch = RecordBatch::try_new(schema_of(&columns()), arrays).unwrap();
        for name in ["x.csv", "x.jsonl", "x.json", "x.parquet"] {
            let (bytes, refused) = written(name, &batch);
            let kept: BooleanArray =
                (0..rows.len() as u64).map(|row| Some(!refused.contains(&row))).collect();
            let kept = arrow_select::filter::filter_record_batch(&batch, &kept).unwrap();
            let found = read(name, bytes);
            let found = arrow_select::concat::concat_batches(&kept.schema(), &found).unwrap();
            prop_assert_eq!(found.num_rows(), kept.num_rows(), "{}", name);
            prop_assert_eq!(found.column(0), kept.column(0), "{}", name);
            prop_assert_eq!(found.column(1), kept.column(1), "{}", name);
            let small = rows.iter().all(|row| {
                row.1.as_ref().is_none_or(|text| text.len() < 20)
                    && row.2.as_ref().is_none_or(|text| text.len() < 100 && text != "null")
            });
            prop_assert!(!small || refused.is_empty(), "{}: {:?}", name, refused);
        }
    }
}
