//! Tests damaged files: they give an error with a place, or the right values; never a panic, never
//! high memory use.

use std::sync::{Arc, OnceLock};

use arrow_array::{
    ArrayRef, Int64Array, ListArray, RecordBatch, StringArray,
    builder::{ListBuilder, StringBuilder},
};
use arrow_schema::DataType;
use proptest::prelude::*;
use transload_formats::{
    ParquetCompression, ParquetDecoder, ParquetFile, ParquetOptions, ParquetStatistics,
};
use transload_plugin_api::{
    Column, ErrorKind, LogicalType, Result, columns_of, schema_of,
    testing::{Rows, samples},
};

use crate::memory::{Memory, read, written};

fn sample() -> RecordBatch {
    let names = "boolean int8 uint32 int64 float64 decimal(15,2) decimal(38,10) decimal(76,20) \
                 text binary timestamp(9) uuid list<int32> list<list<text>> time json";
    let types: Vec<LogicalType> = names.split_whitespace().map(|n| n.parse().unwrap()).collect();
    let batch = samples::edge_batch(&types);
    let rows: Vec<RecordBatch> = vec![batch; 20];
    arrow_select::concat::concat_batches(&rows[0].schema(), &rows).unwrap()
}

fn file(page_checksums: bool, compression: ParquetCompression, dictionary: bool) -> Vec<u8> {
    let batch = sample();
    let options = ParquetOptions {
        page_checksums,
        compression,
        dictionary,
        row_group_rows: 150,
        page_bytes: 500,
        ..ParquetOptions::default()
    };
    written(&options, &columns_of(&batch.schema()).unwrap(), &[batch])
}

/// One of the files above without checksums, created once.
fn undamaged(codec: usize, dictionary: bool) -> Vec<u8> {
    static FILES: [OnceLock<Vec<u8>>; 6] = [const { OnceLock::new() }; 6];
    let compression =
        [ParquetCompression::None, ParquetCompression::Snappy, ParquetCompression::Gzip][codec];
    let made = FILES[2 * codec + usize::from(dictionary)]
        .get_or_init(|| file(false, compression, dictionary));
    made.clone()
}

fn attempt(bytes: Vec<u8>) -> Result<Vec<RecordBatch>> {
    read(&Memory::new(bytes).open()?)
}

fn refused(bytes: Vec<u8>) -> (ErrorKind, String) {
    let error = Memory::new(bytes).open().map(|_: ParquetFile| ()).unwrap_err();
    (error.kind, error.message)
}

#[test]
fn texts_that_are_not_utf8_are_dirty_rows_of_their_own() {
    let columns = vec![
        Column::new("id", LogicalType::Int64, false),
        Column::new("text", LogicalType::TEXT, true),
        Column::new("list", "list<text>".parse().unwrap(), true),
    ];
    let marked = |id: i64| match id {
        300 | 302 => "broken!".to_owned(),
        id => format!("日本 {id}"),
    };
    let ids = Int64Array::from_iter_values(0..1000);
    let texts = StringArray::from_iter((0..1000).map(|id| (id % 7 > 0).then(|| marked(id))));
    let mut lists = ListBuilder::new(StringBuilder::new());
    for id in 0..1000 {
        let item = if id == 700 { "broken!".to_owned() } else { format!("x{id}") };
        lists.append_value([Some(item), None]);
    }
    let (_, offsets, items, nulls) = lists.finish().into_parts();
    let DataType::List(field) = columns[2].logical.data_type() else { panic!("a list") };
    let list = ListArray::new(field, offsets, items, nulls);
    let arrays: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(texts), Arc::new(list)];
    let batch = RecordBatch::try_new(schema_of(&columns), arrays).unwrap();
    for dictionary in [true, false] {
        let options = ParquetOptions {
            compression: ParquetCompression::None,
            page_checksums: false,
            statistics: ParquetStatistics::None,
            dictionary,
            ..ParquetOptions::default()
        };
        let mut bytes = written(&options, &columns, std::slice::from_ref(&batch));
        // The bytes are put into the file as no writer of ours would.
        for at in 0..bytes.len() - 7 {
            if &bytes[at..at + 7] == b"broken!" {
                bytes[at + 3] = 0xFF;
            }
        }
        let file = Memory::new(bytes).open().unwrap();
        let mut decoder = ParquetDecoder::new(&file, 0..1, 0, &columns).unwrap();
        let (mut clean, mut dirty) = (0, Vec::new());
        while let Some(read) = decoder.next_batch().unwrap() {
            clean += read.batch.num_rows();
            dirty.extend(read.dirty);
        }
        let found: Vec<_> = dirty
            .iter()
            .map(|row| (row.place.as_deref().unwrap(), row.column.as_deref().unwrap()))
            .collect();
        assert_eq!(found, [("row 301", "text"), ("row 303", "text"), ("row 701", "list")]);
        assert!(dirty.iter().all(|row| row.code == "utf8"), "{dirty:?}");
        assert_eq!(clean, 997);
    }
}

#[test]
fn files_that_are_not_parquet_are_refused() {
    let whole = file(true, ParquetCompression::Zstd, true);
    let (kind, text) = refused(b"id,name\n1,a\n".to_vec());
    assert_eq!((kind, text.contains("does not end in `PAR1`")), (ErrorKind::Data, true), "{text}");
    assert!(refused(b"PAR1".to_vec()).1.contains("at least 12 bytes"));
    let mut long = whole.clone();
    let at = long.len() - 8;
    long[at..at + 4].copy_from_slice(&(65u32 << 20).to_le_bytes());
    assert!(refused(long.clone()).1.contains("the limit is 67108864"));
    long[at..at + 4].copy_from_slice(&(60u32 << 20).to_le_bytes());
    assert!(refused(long).1.contains("claims 62914560 bytes in a file of"));
    let mut encrypted = whole;
    let at = encrypted.len() - 1;
    encrypted[at] = b'E';
    assert_eq!(
        refused(encrypted),
        (ErrorKind::Unsupported, "encrypted Parquet files cannot be read".into())
    );
}

/// T56: a file that was truncated anywhere is refused.
#[test]
fn t56_half_written_files_are_errors() {
    let whole = file(true, ParquetCompression::Zstd, true);
    for cut in (0..whole.len()).step_by(97) {
        assert_eq!(attempt(whole[..cut].to_vec()).unwrap_err().kind, ErrorKind::Data, "{cut}");
    }
}

#[test]
fn a_flipped_bit_in_a_page_is_found_by_its_checksum() {
    let whole = file(true, ParquetCompression::None, true);
    let expected = Rows::of(&attempt(whole.clone()).unwrap());
    let memory = Memory::new(whole.clone());
    let data = memory.open().unwrap().row_groups().iter().map(|g| g.bytes).sum::<u64>() as usize;
    let mut found = 0;
    for at in (4..data).step_by(61) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        match attempt(bytes) {
            Ok(batches) => expected.assert_equal(&Rows::of(&batches), &format!("byte {at}")),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Data, "{error}");
                assert!(error.message.starts_with("row group "), "{error}");
                assert!(error.place.as_deref() == Some("memory/t.parquet"), "{error}");
                found += usize::from(error.message.contains("checksum of a page does not match"));
            }
        }
    }
    assert!(found > 20, "{found}");
}

/// A page that claims more than the limit is refused by its header alone.
#[test]
fn pages_beyond_the_limit_are_refused() {
    let columns = [Column::new("n", LogicalType::Int64, false)];
    let rows: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
    let batch = RecordBatch::try_new(schema_of(&columns), vec![rows]).unwrap();
    let options = ParquetOptions { dictionary: false, ..ParquetOptions::default() };
    let mut bytes = written(&options, &columns, &[batch]);
    // type 0, the size, the compressed size, the checksum, then the page's own fields
    assert_eq!(bytes[4..7], [0x15, 0, 0x15]);
    let varint = |at: usize| 1 + bytes[at..].iter().position(|byte| byte & 0x80 == 0).unwrap();
    let packed = 7 + varint(7);
    let checksum = packed + 1 + varint(packed + 1);
    let own = checksum + 1 + varint(checksum + 1);
    assert_eq!(bytes[checksum], 0x15);
    assert_eq!(bytes[own], 0x1C);
    let end = own + 1 + bytes[own + 1..].windows(2).position(|pair| pair == [0, 0]).unwrap() + 1;
    let mut header = vec![0x15, 0, 0x15];
    header.extend([0x80, 0x80, 0x80, 0xAC, 0x02]); // 300 MiB
    header.extend(&bytes[packed..checksum]);
    header.push(0x2C);
    header.extend(&bytes[own + 1..end]);
    // a field of a later version fills the space of the checksum
    let left = end + 1 - 4 - header.len() - 3;
    header.extend([0xF8, left as u8]);
    header.resize(header.len() + left, 0);
    header.push(0);
    bytes[4..=end].copy_from_slice(&header);
    let error = attempt(bytes).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Data, "PARQUET-LIMIT"));
    let text = "row group 0, column `n`: a page claims 314572800 bytes, the limit is 268435456";
    assert_eq!(error.message, text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damage_is_survived(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        codec in 0..3usize,
        dictionary in any::<bool>(),
        footer in any::<bool>(),
    ) {
        let mut bytes = undamaged(codec, dictionary);
        // everything else depends on the footer
        let from = if footer { bytes.len() * 3 / 4 } else { 0 };
        for (at, byte) in flips {
            let at = from + at.index(bytes.len() - from);
            bytes[at] = byte;
        }
        if let Err(error) = attempt(bytes) {
            let known = [ErrorKind::Data, ErrorKind::Unsupported, ErrorKind::Schema];
            prop_assert!(known.contains(&error.kind), "{error:?}");
            prop_assert!(error.place.is_some(), "{error:?}");
        }
    }
}
