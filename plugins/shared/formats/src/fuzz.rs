//! Mutated files through every decoder. What a decoder accepts is compared with another reader of
//! the same format, and with the same decoder fed in small pieces.

use std::{
    io::{Cursor, Read},
    ops::Range,
    sync::Arc,
};

use arrow_array::{RecordBatch, cast::AsArray as _};
use bytes::Bytes;
use transload_plugin_api::{
    Column, Error, LogicalType, Result, columns_of,
    testing::samples::{edge_batch, types_of},
};
use transload_tests_fuzz::fuzz;
use transload_values::CellWords;

use crate::{
    Charset, Compression, CsvDecoder, CsvDialect, CsvHead, Decoder, Encoder as _, Inference,
    Invalid, JsonDecoder, JsonInference, JsonShape, ParquetCompression, ParquetDecoder,
    ParquetEncoder, ParquetFile, ParquetOptions, RandomAccess, Transcoder, UnknownKeys,
};

/// Rows as texts, and how many were dirty; or the code of the error.
type Outcome = std::result::Result<(Vec<Vec<String>>, usize), String>;

fn code(error: Error) -> String {
    format!("{:?} {}", error.kind, error.code)
}

fn columns(types: &[(&str, LogicalType)]) -> Vec<Column> {
    types.iter().map(|(name, logical)| Column::new(*name, logical.clone(), true)).collect()
}

/// Decodes as a file reader does: what is not taken is offered again with `piece` more bytes.
fn decoded(decoder: &mut dyn Decoder, input: &[u8], piece: usize) -> Outcome {
    let (mut from, mut to) = (0, 0);
    let (mut rows, mut dirty) = (Vec::new(), 0);
    loop {
        to = (to + piece).min(input.len());
        let last = to == input.len();
        loop {
            from += decoder.decode(&input[from..to], last).map_err(code)?;
            assert!(from <= to, "more bytes taken than given");
            let full = decoder.is_full();
            if let Some(decoded) = decoder.flush().map_err(code)? {
                rows.extend((0..decoded.batch.num_rows()).map(|row| texts(&decoded.batch, row)));
                dirty += decoded.dirty.len();
            }
            if !full {
                break;
            }
        }
        if last {
            return Ok((rows, dirty));
        }
    }
}

/// A row's cells, all of text columns.
fn texts(batch: &RecordBatch, row: usize) -> Vec<String> {
    let text = |array: &dyn arrow_array::Array| match array.is_null(row) {
        true => String::new(),
        false => array.as_string::<i32>().value(row).to_owned(),
    };
    batch.columns().iter().map(|array| text(array)).collect()
}

/// The number of bytes in a piece: taken from the input, so that it is a part of its reproduction.
fn split(input: &[u8]) -> Option<(usize, &[u8])> {
    let (piece, input) = input.split_first()?;
    Some((usize::from(*piece) + 1, input))
}

const CSV_SEEDS: &[&str] = &[
    "\x08a,b,c\n1,2,3\n4,5,6\n",
    "\x03\"a \"\"quoted\"\" word\",\"two\nlines\",\r\n,,\"\"\r\nx,y\n",
    "\x10\u{feff}1,\"it's\",é\n\n2,\u{1F600},\"a,b\"\n\"open",
];

#[test]
fn csv_decode() {
    let names: Vec<_> = ["a", "b", "c"].map(str::to_owned).into();
    let wanted =
        columns(&[("a", LogicalType::TEXT), ("b", LogicalType::TEXT), ("c", LogicalType::TEXT)]);
    let dialect = CsvDialect { header: false, ..CsvDialect::default() };
    let decode = |input: &[u8], piece: usize| {
        let decoder = CsvDecoder::new(&dialect, &names, &wanted, &CellWords::default());
        // The decoder starts behind the byte order mark, which the reader of the head skips.
        let rows = input.strip_prefix("\u{feff}".as_bytes()).unwrap_or(input);
        decoded(&mut decoder.expect("a decoder"), rows, piece)
    };
    fuzz("csv_decode", CSV_SEEDS, &["\"", "\"\"", "\n", "\r\n", ",", "\u{feff}"], |input| {
        let (piece, input) = split(input)?;
        let whole = decode(input, input.len().max(1));
        assert_eq!(whole, decode(input, piece), "in pieces of {piece} bytes");
        let irregular = |byte: &u8| *byte == b'\r';
        if let Ok((rows, 0)) = &whole
            && !input.iter().any(irregular)
        {
            assert_eq!(*rows, other_csv_reader(input));
        }
        Some(whole)
    });
}

/// The same rows as the crate `csv` reads them.
fn other_csv_reader(input: &[u8]) -> Vec<Vec<String>> {
    let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(input);
    let row = |record: csv::StringRecord| record.iter().map(str::to_owned).collect();
    reader.into_records().map(|record| row(record.expect("a record"))).collect()
}

#[test]
fn csv_head() {
    fuzz(
        "csv_head",
        CSV_SEEDS,
        &["\"", "\n", "\r", ",", "\t", ";", "1e5", "-1", "true"],
        |input| {
            let dialect = CsvDialect::default();
            let head = CsvHead::read(&dialect, input, true).map_err(code)?.expect("at the end");
            let mut inference = Inference::new(&head.names, &CellWords::default());
            let rows = &input[head.bytes as usize..];
            head.sample(&dialect, rows, true, 100, &mut inference).map_err(code)?;
            let types = inference.columns().into_iter().map(|column| column.logical.to_string());
            Ok::<_, String>((types.collect::<Vec<_>>(), inference.rows()))
        },
    );
}

const JSON_WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\\ud83d\\ude00",
    "null",
    "true",
    "1e5",
    "-0",
    "\"a\":",
    "\n",
];

fn json_decoder(shape: JsonShape, unknown: UnknownKeys) -> JsonDecoder {
    let columns =
        columns(&[("a", LogicalType::TEXT), ("b", LogicalType::TEXT), ("doc", LogicalType::Json)]);
    JsonDecoder::new(shape, &columns, &CellWords::default(), [], unknown).expect("a decoder")
}

#[test]
fn json_lines() {
    let seeds = [
        "\x08{\"a\":\"x\",\"b\":null,\"doc\":{\"n\":[1,2.50,\"\\u00e9\"]}}\n{\"b\":true}\n",
        "\x02{\"a\": \"\\ud83d\\ude00 \\\" \\\\ \\n\", \"c\": [[[]]]}\r\n\n{}",
        "\x05\u{feff}{\"a\":12345678901234567890,\"doc\":-1e400}\n{\"a\":1,\"a\":2}\nnot json\n",
    ];
    fuzz("json_lines", seeds, JSON_WORDS, |input| {
        let (piece, input) = split(input)?;
        let decode = |unknown: UnknownKeys, input: &[u8], piece: usize| {
            decoded(&mut json_decoder(JsonShape::Lines, unknown), input, piece)
        };
        let whole = decode(UnknownKeys::Ignore, input, input.len().max(1));
        let pieces = decode(UnknownKeys::Ignore, input, piece);
        assert_eq!(whole, pieces, "in pieces of {piece} bytes");
        for line in input.split(|byte| *byte == b'\n') {
            // What is left out is not looked at: no check of its texts.
            if let Ok((rows, 0)) = decode(UnknownKeys::Dirty, line, line.len().max(1))
                && let [row] = rows.as_slice()
            {
                compare_with_serde(line, row);
            }
        }
        let mut inference = JsonInference::new(&CellWords::default());
        let sampled = inference.sample(JsonShape::Lines, input, true, 100).map_err(code);
        Some((whole, sampled))
    });
}

/// A line that gave a clean row is one that serde_json reads, and its texts are the same.
fn compare_with_serde(line: &[u8], row: &[String]) {
    let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
    let value: serde_json::Value = match serde_json::from_slice(line) {
        Ok(value) => value,
        // A number beyond a double is a number all the same.
        Err(error) if error.to_string().contains("out of range") => return,
        Err(error) => panic!("a clean row from a line that is not JSON: {error}"),
    };
    for (name, found) in ["a", "b"].into_iter().zip(row) {
        match value.get(name) {
            Some(serde_json::Value::String(text)) => assert_eq!(found, text),
            None | Some(serde_json::Value::Null) => assert_eq!(found, ""),
            Some(_) => assert!(!found.is_empty()),
        }
    }
}

#[test]
fn json_decode() {
    let seeds = [
        "\x08[{\"a\":\"x\"},{\"b\":\"y\",\"doc\":[1,{}]}]",
        "\x02 [ {\"a\" : null} ,\n {} ] \n",
        "\x03[]",
    ];
    fuzz("json_decode", seeds, JSON_WORDS, |input| {
        let (piece, input) = split(input)?;
        let decode = |piece: usize| {
            decoded(&mut json_decoder(JsonShape::Array, UnknownKeys::Ignore), input, piece)
        };
        let whole = decode(input.len().max(1));
        let pieces = decode(piece);
        match &whole {
            Ok((rows, 0)) => {
                assert_eq!(whole, pieces, "in pieces of {piece} bytes");
                assert_array(input, rows.len());
            }
            // Which rows come before the error depends on the pieces, but not the error.
            _ => assert_eq!(whole.as_ref().err(), pieces.as_ref().err()),
        }
        let mut inference = JsonInference::new(&CellWords::default());
        let sampled = inference.sample(JsonShape::Array, input, true, 100).map_err(code);
        Some((whole, sampled))
    });
}

fn assert_array(input: &[u8], rows: usize) {
    let input = input.strip_prefix("\u{feff}".as_bytes()).unwrap_or(input);
    if let Ok(serde_json::Value::Array(values)) = serde_json::from_slice(input) {
        assert_eq!(values.len(), rows);
    }
}

/// A file in memory.
struct Memory(Bytes);

impl RandomAccess for Memory {
    fn name(&self) -> &str {
        "fuzz.parquet"
    }

    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn is_distant(&self) -> bool {
        false
    }

    fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let slice = |range: &Range<u64>| {
            assert!(range.start <= range.end && range.end <= self.size(), "outside of the file");
            self.0.slice(range.start as usize..range.end as usize)
        };
        Ok(ranges.iter().map(slice).collect())
    }

    fn read(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        let mut bytes = self.ranges(&[range])?;
        Ok(Box::new(Cursor::new(bytes.remove(0))))
    }
}

fn parquet_file(options: &ParquetOptions, families: &[&str]) -> Vec<u8> {
    let types: Vec<_> = families.iter().flat_map(|family| types_of(family)).collect();
    let batch = edge_batch(&types);
    let columns = columns_of(&batch.schema()).expect("the columns of the samples");
    let mut out = Vec::new();
    let mut encoder = ParquetEncoder::new(options, &columns).expect("an encoder");
    encoder.start(&mut out).expect("a start");
    encoder.encode(&batch, &mut out).expect("rows");
    encoder.commit(&mut out).expect("a commit");
    encoder.end(&mut out).expect("an end");
    out
}

#[test]
fn parquet_guard() {
    let plain = ParquetOptions {
        compression: ParquetCompression::None,
        page_checksums: false,
        row_group_rows: 5,
        ..ParquetOptions::default()
    };
    let no_dictionary = ParquetOptions { dictionary: false, ..plain.clone() };
    let packed = ParquetOptions { compression: ParquetCompression::Snappy, ..plain.clone() };
    let seeds = [
        parquet_file(&plain, &["int32", "text"]),
        parquet_file(&no_dictionary, &["text", "boolean", "decimal"]),
        parquet_file(&plain, &["list", "timestamp"]),
        parquet_file(&packed, &["text", "float64", "uuid"]),
        parquet_file(&ParquetOptions::default(), &["int64"]),
    ];
    fuzz("parquet_guard", seeds, &["PAR1", "\x15\x00", "\x15\x04", "\x2c", "\x4c"], |input| {
        let file =
            ParquetFile::open(Arc::new(Memory(Bytes::copy_from_slice(input)))).map_err(code)?;
        let groups = 0..file.row_groups().len();
        let mut decoder = ParquetDecoder::new(&file, groups, 0, file.columns()).map_err(code)?;
        let mut rows = 0;
        while let Some(batch) = decoder.next_batch().map_err(code)? {
            assert_eq!(batch.rows, (batch.batch.num_rows() + batch.dirty.len()) as u64);
            rows += batch.rows;
            assert!(rows <= file.rows(), "more rows than the footer states");
        }
        assert_eq!(rows, file.rows(), "fewer rows than the footer states");
        Ok::<_, String>((rows, file.columns().len()))
    });
}

#[test]
fn decompression() {
    let text = "one,two\n".repeat(40);
    let compressed = |compression: Compression| {
        let mut writer = compression.writer(Vec::new()).expect("a compressor");
        std::io::Write::write_all(&mut writer, text.as_bytes()).expect("memory");
        writer.finish().expect("memory")
    };
    let seeds = [
        Compression::Gzip,
        Compression::Zstd,
        Compression::Bzip2,
        Compression::Lz4,
        Compression::Snappy,
    ]
    .map(compressed);
    fuzz("decompression", seeds, &["\x1f\u{8b}", "\0\0\0\0"], |input| {
        let compression = Compression::detect(input).map_err(code)?;
        let mut reader = compression.reader(input).map_err(code)?.take(64 << 20);
        let mut bytes = 0;
        let mut buffer = [0; 64 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok::<_, String>((compression.word(), Some(bytes))),
                Ok(read) => bytes += read,
                Err(_) => return Ok((compression.word(), None)),
            }
        }
    });
}

#[test]
fn transcoding() {
    let charsets = ["utf-8", "latin1", "gb18030", "utf-16", "utf-16le", "utf-16be"];
    let charsets = charsets.map(|name| name.parse::<Charset>().expect("a charset"));
    let seeds: [&[u8]; 3] =
        [b"\0\x03plain", "\x02\x05é中文😀".as_bytes(), b"\x03\x01\xff\xfea\0b\0"];
    fuzz("transcoding", seeds, &["\u{feff}", "\n"], |input| {
        let (which, input) = split(input)?;
        let (piece, input) = split(input)?;
        let transcode = |piece: usize| {
            let charset = charsets[which % charsets.len()];
            let mut transcoder = Transcoder::new(charset, Invalid::Dirty);
            let (mut out, mut left) = (Vec::new(), input);
            loop {
                let (now, later) = left.split_at(piece.min(left.len()));
                transcoder.push(now, later.is_empty(), &mut out).map_err(code)?;
                left = later;
                if left.is_empty() {
                    return Ok::<_, String>(out);
                }
            }
        };
        let whole = transcode(input.len().max(1));
        assert_eq!(whole, transcode(piece), "in pieces of {piece} bytes");
        Some(whole.map(|text| std::str::from_utf8(&text).is_ok()))
    });
}
