//! Tests files of pyarrow, DuckDB and Polars read here, and our files read by them.
//! `tests/servers/python` provides the interpreter.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
    sync::Arc,
};

use transload_formats::{Nested, Nesting, ParquetDecoder, ParquetFile, ParquetOptions, produced};
use transload_plugin_api::{
    Column, ErrorKind, columns_of,
    testing::{cell, samples},
};

use crate::memory::{Memory, read, read_columns, written};

/// A folder for one test, filled by one of the scripts in this folder.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("transload-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn filled(script: &str) -> Self {
        let folder = Self::new(script);
        python(script, &[folder.0.to_str().unwrap()]);
        folder
    }

    fn files(&self, prefix: &str) -> Vec<(String, ParquetFile)> {
        let mut paths: Vec<_> = fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().path()).collect();
        paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix));
        paths.sort();
        assert!(!paths.is_empty(), "{prefix}");
        paths.iter().map(|path| (path.display().to_string(), open(path))).collect()
    }

    fn file(&self, name: &str) -> ParquetFile {
        open(&self.0.join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn memory(path: &Path) -> Arc<Memory> {
    Memory::new(fs::read(path).unwrap())
}

fn open(path: &Path) -> ParquetFile {
    memory(path).open().unwrap_or_else(|error| panic!("{}: {error:?}", path.display()))
}

/// Runs one of the scripts and returns its output.
fn python(script: &str, arguments: &[&str]) -> String {
    let interpreter = std::env::var("TRANSLOAD_TEST_PYTHON")
        .expect("TRANSLOAD_TEST_PYTHON is not set; see tests/servers/python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parquet").join(script);
    let output = Command::new(interpreter).arg(script).args(arguments).output().unwrap();
    let (text, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    text
}

/// Checks the columns with their types, and the cells, which repeat.
#[track_caller]
fn assert_holds(file: &ParquetFile, expected: &[(&str, &str, &[&str])], rows: usize, when: &str) {
    let batches = read(file).unwrap_or_else(|error| panic!("{when}: {error:?}"));
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), rows, "{when}");
    let names: Vec<_> = expected.iter().map(|(name, ..)| *name).collect();
    let found: Vec<_> = file.columns().iter().map(|column| column.name.as_str()).collect();
    assert_eq!(found, names, "{when}");
    for (at, (name, logical, cells)) in expected.iter().enumerate() {
        assert_eq!(file.columns()[at].logical.to_string(), *logical, "{when}: {name}");
        let mut row = 0;
        for batch in &batches {
            for place in 0..batch.num_rows() {
                let found = cell(batch.column(at).as_ref(), place);
                assert_eq!(found, cells[row % cells.len()], "{when}: {name}, row {row}");
                row += 1;
            }
        }
    }
}

const PYARROW: &[(&str, &str, &[&str])] = &[
    ("i8", "int8", &["-128", "127", "0", "NULL"]),
    ("i16", "int16", &["-32768", "32767", "0", "NULL"]),
    ("i32", "int32", &["-2147483648", "2147483647", "0", "NULL"]),
    ("i64", "int64", &["-9223372036854775808", "9223372036854775807", "0", "NULL"]),
    ("u8", "uint8", &["0", "255", "1", "NULL"]),
    ("u16", "uint16", &["0", "65535", "1", "NULL"]),
    ("u32", "uint32", &["0", "4294967295", "1", "NULL"]),
    ("u64", "uint64", &["0", "18446744073709551615", "1", "NULL"]),
    ("f16", "float32", &["0.5", "-65504.0", "1.0", "NULL"]),
    ("f32", "float32", &["0.5", "-3.4028235e38", "1.0", "NULL"]),
    ("f64", "float64", &["0.1", "-1.7976931348623157e308", "1.0", "NULL"]),
    ("bool", "boolean", &["true", "false", "true", "NULL"]),
    ("d9", "decimal(9,2)", &["-9999999.99", "9999999.99", "0.01", "NULL"]),
    ("d18", "decimal(18,4)", &["-99999999999999.9999", "99999999999999.9999", "0.0001", "NULL"]),
    (
        "d38",
        "decimal(38,10)",
        &[
            "-9999999999999999999999999999.9999999999",
            "9999999999999999999999999999.9999999999",
            "1.0000000000",
            "NULL",
        ],
    ),
    (
        "d76",
        "decimal(76,20)",
        &[
            "-99999999999999999999999999999999999999999999999999999999.99999999999999999999",
            "99999999999999999999999999999999999999999999999999999999.99999999999999999999",
            "1.00000000000000000000",
            "NULL",
        ],
    ),
    ("s", "text", TEXTS),
    ("ls", "text", TEXTS),
    ("vs", "text", TEXTS),
    ("dict", "text", &["\"b\"", "\"a\"", "\"b\"", "NULL"]),
    ("b", "binary", &["0x", "0x00FF", "0x616263", "NULL"]),
    ("lb", "binary", &["0x", "0x00FF", "0x616263", "NULL"]),
    ("fb", "binary", &["0x00000000", "0xFFFFFFFF", "0x61626364", "NULL"]),
    ("date", "date", &["0001-01-01", "9999-12-31", "2024-02-29", "NULL"]),
    ("date64", "date", &["0001-01-01", "9999-12-31", "2024-02-29", "NULL"]),
    ("t_s", "time(3)", &["00:00:00", "23:59:59", "01:02:03", "NULL"]),
    ("t_ms", "time(3)", &["00:00:00", "23:59:59.999", "01:02:03.004", "NULL"]),
    ("t_us", "time", &["00:00:00", "23:59:59.999999", "01:02:03.000004", "NULL"]),
    ("t_ns", "time(9)", &["00:00:00", "23:59:59.999999999", "00:00:00.000000001", "NULL"]),
    (
        "ts_s",
        "timestamp(0)",
        &["0001-01-01 00:00:00", "9999-12-31 23:59:59", "2024-02-29 23:59:59", "NULL"],
    ),
    (
        "ts_ms",
        "timestamp(3)",
        &["0001-01-01 00:00:00", "9999-12-31 23:59:59.999", "2024-02-29 23:59:59.123", "NULL"],
    ),
    ("ts_us", "timestamp", STAMPS),
    (
        "ts_ns",
        "timestamp(9)",
        &[
            "1677-09-21 00:12:43.145224192",
            "2262-04-11 23:47:16.854775807",
            "1970-01-01 00:00:00.000000001",
            "NULL",
        ],
    ),
    (
        "tz_us",
        "timestamptz",
        &[
            "0001-01-01 00:00:00Z",
            "9999-12-31 23:59:59.999999Z",
            "2024-02-29 23:59:59.123456Z",
            "NULL",
        ],
    ),
    (
        "tz_ns",
        "timestamptz(9)",
        &[
            "1677-09-21 00:12:43.145224192Z",
            "2262-04-11 23:47:16.854775807Z",
            "1970-01-01 00:00:00.000000001Z",
            "NULL",
        ],
    ),
    ("dur_s", "duration", &["-1000000 us", "1000000 us", "86400000000 us", "NULL"]),
    ("dur_ms", "duration", &["-1000 us", "1000 us", "86400000 us", "NULL"]),
    ("dur_us", "duration", &["-1 us", "1 us", "86400 us", "NULL"]),
    ("dur_ns", "duration", &["-1 us", "1 us", "86400 us", "NULL"]),
    ("l", "list<int32>", &["[]", "[1, NULL, 3]", "[4]", "NULL"]),
    ("ll", "list<list<text>>", &["[]", "[[\"a\", NULL], NULL, []]", "[[\"b\"]]", "NULL"]),
    ("large_l", "list<decimal(15,2)>", &["[]", "[1.00, NULL]", "[-0.01]", "NULL"]),
    ("fixed_l", "list<float64>", &["[1.0, 2.0]", "[NULL, 0.5]", "[3.0, 4.0]", "NULL"]),
    ("nothing", "text", &["NULL"]),
    ("uuid", "uuid", UUIDS),
    ("json", "json", &["\"{}\"", "\"{\\\"a\\\": [1, \\\"ü\\\"]}\"", "\"null\"", "NULL"]),
    ("struct.x", "int32", &["1", "NULL", "2", "NULL"]),
    ("map", "json", &[r#""{\"k\":1}""#, "\"{}\"", "\"{}\"", "NULL"]),
    ("items", "json", ITEMS),
];

const ITEMS: &[&str] = &[
    "\"[]\"",
    r#""[{\"a\":1,\"b\":\"x\"},null,{\"a\":null,\"b\":\"y\"}]""#,
    r#""[{\"a\":2,\"b\":null}]""#,
    "NULL",
];

const TEXTS: &[&str] = &["\"\"", "\"日本語 'x'\"", "\"plain\"", "NULL"];
const UUIDS: &[&str] = &[
    "0x00000000000000000000000000000000",
    "0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
    "0x30313233343536373839616263646566",
    "NULL",
];
const STAMPS: &[&str] =
    &["0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "2024-02-29 23:59:59.123456", "NULL"];

#[test]
fn files_of_pyarrow_are_read() {
    let folder = Folder::filled("pyarrow_writes.py");
    for prefix in ["codec-", "checksums", "plain", "names", "decimals", "delta", "split"] {
        for (name, file) in folder.files(prefix) {
            assert_holds(&file, PYARROW, 2400, &name);
            assert_eq!(file.row_groups().len(), 3);
            assert_eq!(file.unreadable(), []);
            let refusing = Nesting { nested: Nested::Fail, ..Nesting::default() };
            let wanted = [Column::new("map", "text".parse().unwrap(), true)];
            let error = read_columns(&file.nesting(&refusing), &wanted).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unsupported);
            assert!(error.message.contains("`map` cannot be read"), "{error}");
        }
    }
    let names = [
        "i8", "u64", "d9", "d76", "s", "ls", "dict", "b", "ts_us", "ts_ns", "tz_us", "l", "ll",
        "uuid", "json",
    ];
    let mut expected: Vec<_> = names
        .iter()
        .map(|name| *PYARROW.iter().find(|(known, ..)| known == name).unwrap())
        .collect();
    // no annotation shows that these are more than numbers
    expected.insert(11, ("dur_us", "int64", &["-1", "1", "86400", "NULL"]));
    assert_holds(&folder.file("no-arrow-schema.parquet"), &expected, 2400, "no Arrow schema");
    int96(&folder);
    let brotli = memory(&folder.0.join("brotli.parquet")).open().map(|_| ()).unwrap_err();
    assert_eq!(brotli.kind, ErrorKind::Unsupported);
    assert!(brotli.message.contains("`brotli`"), "{brotli}");
}

/// T23: the timestamps of old Spark and Impala are neither shifted nor truncated.
fn int96(folder: &Folder) {
    let old = folder.file("int96.parquet");
    assert_eq!(old.columns()[0].native, "INT96");
    assert_holds(&old, &[("ts", "timestamp", STAMPS)], 2400, "INT96");
    let fine = folder.file("int96-nanos.parquet");
    let mut decoder =
        ParquetDecoder::new(&fine, 0..fine.row_groups().len(), 0, fine.columns()).unwrap();
    let dirty = decoder.next_batch().unwrap().unwrap().dirty;
    assert_eq!(dirty[0].column.as_deref(), Some("ts"));
    assert!(dirty[0].reason.starts_with("a timestamp has nanoseconds"), "{dirty:?}");
    let wanted = [Column::new("ts", "timestamp(9)".parse().unwrap(), true)];
    let columns = produced(fine.columns(), &wanted);
    let read = read_columns(&fine, &columns).unwrap();
    let cells: Vec<_> = (0..4).map(|row| cell(read[0].column(0).as_ref(), row)).collect();
    let expected = [
        "1970-01-01 00:00:00.000000001",
        "2024-02-29 23:59:59.123456789",
        "1969-12-31 23:59:59.999999999",
        "NULL",
    ];
    assert_eq!(cells, expected);
    // the extremes of the same column do not fit nanoseconds of 64 bits
    let columns = produced(old.columns(), &wanted);
    let mut decoder = ParquetDecoder::new(&old, 0..1, 0, &columns).unwrap();
    let found = decoder.next_batch().unwrap().unwrap();
    assert!(found.dirty.iter().all(|row| row.reason.contains("out of range")), "{:?}", found.dirty);
    assert_eq!(found.dirty.len() as u64, found.rows / 2);
}

#[test]
fn files_of_duckdb_are_read() {
    let folder = Folder::filled("duckdb_writes.py");
    let expected: &[(&str, &str, &[&str])] = &[
        ("bool", "boolean", &["true", "NULL"]),
        ("i8", "int8", &["-128", "NULL"]),
        ("i16", "int16", &["-32768", "NULL"]),
        ("i32", "int32", &["-2147483648", "NULL"]),
        ("i64", "int64", &["-9223372036854775808", "NULL"]),
        ("u8", "uint8", &["0", "NULL"]),
        ("u16", "uint16", &["65535", "NULL"]),
        ("u32", "uint32", &["4294967295", "NULL"]),
        ("u64", "uint64", &["18446744073709551615", "NULL"]),
        ("f32", "float32", &["0.5", "NULL"]),
        ("f64", "float64", &["0.1", "NULL"]),
        ("d4", "decimal(4,2)", &["-99.99", "NULL"]),
        ("d9", "decimal(9,2)", &["9999999.99", "NULL"]),
        ("d18", "decimal(18,4)", &["99999999999999.9999", "NULL"]),
        ("d38", "decimal(38,10)", &["-9999999999999999999999999999.9999999999", "NULL"]),
        ("s", "text", &["\"ü'\"", "NULL"]),
        ("b", "binary", &["0x00FF", "NULL"]),
        ("date", "date", &["0001-01-01", "NULL"]),
        ("t_us", "time", &["23:59:59.999999", "NULL"]),
        ("ts_us", "timestamp", &["9999-12-31 23:59:59.999999", "NULL"]),
        ("ts_ms", "timestamp(3)", &["2024-02-29 23:59:59.123", "NULL"]),
        ("ts_ns", "timestamp(9)", &["2024-02-29 23:59:59.123456789", "NULL"]),
        ("tz", "timestamptz", &["2024-02-29 23:59:59.123456Z", "NULL"]),
        ("span", "interval", &["14 months 3 days 4000000000 ns", "NULL"]),
        ("uuid", "uuid", &["0x30313233343536373839616263646566", "NULL"]),
        ("l", "list<int32>", &["[1, NULL, 3]", "NULL"]),
        ("ll", "list<list<text>>", &["[[\"a\", NULL], NULL, []]", "NULL"]),
        ("json", "json", &["\"{\\\"a\\\": 1}\"", "NULL"]),
        ("enum", "text", &["\"b\"", "NULL"]),
        ("struct.x", "int32", &["1", "NULL"]),
        ("map", "json", &[r#""{\"k\":1}""#, "NULL"]),
    ];
    for (name, file) in folder.files("duckdb-") {
        assert_holds(&file, expected, 6000, &name);
        assert_eq!(file.unreadable(), []);
    }
}

#[test]
fn files_of_polars_are_read() {
    let folder = Folder::filled("polars_writes.py");
    let expected: &[(&str, &str, &[&str])] = &[
        ("i8", "int8", &["-128", "NULL"]),
        ("u64", "uint64", &["18446744073709551615", "NULL"]),
        ("f64", "float64", &["0.1", "NULL"]),
        ("bool", "boolean", &["true", "NULL"]),
        ("d", "decimal(18,4)", &["-99999999999999.9999", "NULL"]),
        ("d38", "decimal(38,10)", &["9999999999999999999999999999.9999999999", "NULL"]),
        ("s", "text", &["\"ü'\"", "NULL"]),
        ("cat", "text", &["\"b\"", "NULL"]),
        ("enum", "text", &["\"b\"", "NULL"]),
        ("b", "binary", &["0x00FF", "NULL"]),
        ("date", "date", &["0001-01-01", "NULL"]),
        ("t_ns", "time(9)", &["23:59:59.999999", "NULL"]),
        ("ts_ms", "timestamp(3)", &["2024-02-29 23:59:59.123", "NULL"]),
        ("ts_us", "timestamp", &["2024-02-29 23:59:59.123456", "NULL"]),
        ("ts_ns", "timestamp(9)", &["2024-02-29 23:59:59.123456", "NULL"]),
        ("tz", "timestamptz", &["2024-02-29 22:59:59.123456Z", "NULL"]),
        ("dur", "duration", &["-1000000 us", "NULL"]),
        ("l", "list<int32>", &["[1, NULL, 3]", "NULL"]),
        ("ll", "list<list<text>>", &["[[\"a\", NULL], NULL, []]", "NULL"]),
        ("arr", "list<float64>", &["[0.5, NULL]", "NULL"]),
        ("struct.x", "int32", &["1", "NULL"]),
    ];
    for (name, file) in folder.files("polars-") {
        assert_holds(&file, expected, 6000, &name);
    }
}

/// All edge values of the types that a reader supports, in two row groups.
fn ours(folder: &Folder, reader: &str) -> PathBuf {
    let types = "boolean int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 \
                 decimal(9,2) decimal(15,2) decimal(38,10) decimal(76,20) numeric text(9) binary \
                 date time time(9) duration timestamp timestamp(9) timestamptz timestamptz(9) json \
                 uuid list<int32> list<list<text>> list<decimal(15,2)>";
    // Polars supports at most 38 digits
    let known = |name: &&str| reader != "polars" || *name != "decimal(76,20)";
    let types: Vec<_> =
        types.split_whitespace().filter(known).map(|name| name.parse().unwrap()).collect();
    let batch = samples::edge_batch(&types);
    let columns = columns_of(&batch.schema()).unwrap();
    let options = ParquetOptions { row_group_rows: 10, ..ParquetOptions::default() };
    let path = folder.0.join("ours.parquet");
    fs::write(&path, written(&options, &columns, &[batch])).unwrap();
    path
}

/// The output of one of the readers, with our cells for the same rows.
fn read_by(reader: &str) -> Vec<(String, Vec<String>, Vec<String>)> {
    let folder = Folder::new(reader);
    let path = ours(&folder, reader);
    let batches = read(&open(&path)).unwrap();
    let output = python("reads.py", &[reader, path.to_str().unwrap()]);
    let columns: Vec<(String, Vec<String>)> = serde_json::from_str(&output).unwrap();
    assert_eq!(columns.len(), batches[0].num_columns());
    let ours = |at: usize| {
        let cells = batches.iter().flat_map(|batch| {
            (0..batch.num_rows()).map(move |row| cell(batch.column(at).as_ref(), row))
        });
        cells.collect::<Vec<_>>()
    };
    columns
        .into_iter()
        .enumerate()
        .map(|(at, (kind, cells))| {
            let name = format!("{} ({kind})", batches[0].schema().field(at).name());
            let ours = match kind.as_str() {
                "float" => {
                    ours(at).iter().map(|cell| bits::<f32, 4>(cell, f32::to_be_bytes)).collect()
                }
                "double" => {
                    ours(at).iter().map(|cell| bits::<f64, 8>(cell, f64::to_be_bytes)).collect()
                }
                // a duration is a number for readers that ignore the Arrow schema
                "int64" => ours(at).iter().map(|cell| cell.replace(" us", "")).collect(),
                _ => ours(at),
            };
            (name, cells, ours)
        })
        .collect()
}

/// The bits of a float, because Python prints other digits.
fn bits<F: FromStr, const WIDTH: usize>(cell: &str, bits: fn(F) -> [u8; WIDTH]) -> String {
    match cell.parse::<F>() {
        Ok(float) if !["NaN", "inf", "-inf"].contains(&cell) => {
            bits(float).iter().map(|byte| format!("{byte:02x}")).collect()
        }
        _ => cell.to_owned(),
    }
}

#[test]
fn our_files_are_read_by_pyarrow_duckdb_and_polars() {
    for reader in ["pyarrow", "duckdb", "polars"] {
        for (name, theirs, ours) in read_by(reader) {
            assert_eq!(theirs, ours, "{reader}: {name}");
        }
    }
}
