//! What the suite needs to know about files: the form of a table in each format.

use std::path::PathBuf;

use arrow_array::RecordBatch;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use transload_formats::{Encoder, ParquetEncoder, ParquetOptions};
use transload_plugin_api::{
    Column, LogicalType, Options, WriteMode, columns_of,
    testing::{DirtyBatch, DirtySource, Rows, Source, Subject, Target, samples},
};

use crate::host::{batch, columns, names, plan, reader, reading, row, rows_of, write, writing};

/// Files of one format: one file a target, or a folder of them.
#[derive(Clone, Copy)]
pub(crate) struct Files {
    pub(crate) format: &'static str,
    pub(crate) layout: &'static str,
}

struct Place {
    files: Files,
    folder: TempDir,
}

impl Files {
    fn place(self) -> Place {
        Place { files: self, folder: tempdir().unwrap() }
    }

    fn content(self, batch: &RecordBatch) -> Vec<u8> {
        let columns = samples::keyed_columns();
        if self.format == "parquet" {
            return parquet(&columns, batch);
        }
        self.text(&columns, batch).into_bytes()
    }

    fn text(self, columns: &[Column], batch: &RecordBatch) -> String {
        let rows = rows_of(columns, batch);
        let rows = rows.iter().map(|row| row.iter().map(|cell| cell.as_deref().unwrap()));
        let objects = rows.clone().map(|mut row| {
            let mut next = || row.next().unwrap();
            let (id, name, size) = (next(), next(), next());
            format!("{{\"id\":{id},\"name\":\"{name}\",\"size\":{size}}}")
        });
        match self.format {
            "csv" => {
                let lines = rows.map(|row| row.collect::<Vec<_>>().join(",") + "\n");
                format!("id,name,size\n{}", lines.collect::<String>())
            }
            "jsonl" => objects.map(|object| object + "\n").collect(),
            _ => format!("[{}]", objects.collect::<Vec<_>>().join(",\n")),
        }
    }
}

impl Place {
    fn path(&self) -> PathBuf {
        self.folder.path().join("target")
    }

    fn more(&self) -> Value {
        json!({"format": self.files.format})
    }

    fn writing(&self, if_exists: &str) -> Options {
        let mut more = self.more();
        more["layout"] = json!(self.files.layout);
        more["if_exists"] = json!(if_exists);
        writing(&self.path(), more)
    }

    fn holds_files(&self) -> bool {
        let path = self.path();
        path.is_file()
            || (path.is_dir() && names(&path).iter().any(|name| name.starts_with("part")))
    }

    /// JSON without rows has no keys, so the job declares the columns.
    fn reading(&self) -> Options {
        if self.files.format == "parquet" {
            return reading(&self.path(), self.more());
        }
        Options { schema: samples::keyed_columns(), ..reading(&self.path(), self.more()) }
    }
}

impl Subject for Files {
    fn source(&self, rows: u64) -> Source {
        let place = self.place();
        let batch = samples::keyed(1..=rows as i64, 1);
        std::fs::write(place.path(), self.content(&batch)).unwrap();
        Source::new(place.reading()).with_rows(Rows::of(&[batch])).keeping(place)
    }

    fn target(&self, _: &[Column], _: &[String]) -> Box<dyn Target + '_> {
        Box::new(self.place())
    }

    /// Only Parquet has lists and intervals.
    fn types(&self, family: &str) -> Vec<LogicalType> {
        let text = self.format != "parquet";
        if text && matches!(family, "list" | "interval") {
            return Vec::new();
        }
        samples::types_of(family)
    }

    fn takes(&self, logical: &LogicalType, cell: &str) -> bool {
        if self.format == "parquet" {
            return *logical != LogicalType::Interval || cell == "NULL" || is_whole_interval(cell);
        }
        let json_number = !cell.contains("NaN") && !cell.to_lowercase().contains("inf");
        match logical {
            LogicalType::Float32 | LogicalType::Float64 | LogicalType::Numeric => {
                self.format == "csv" || json_number
            }
            LogicalType::Json => self.format == "csv" || !cell.contains("null"),
            _ => true,
        }
    }

    fn dirty_sources(&self) -> Vec<DirtySource> {
        if self.format == "parquet" {
            return Vec::new();
        }
        let (text, places) = match self.format {
            "csv" => ("id,name,size\n1,a,1\n2,b\n3,c,x\n4,d,4\n", [3, 4]),
            "jsonl" => ("{\"id\":1}\nwrong\n{\"id\":3,\"size\":\"x\"}\n{\"id\":4}\n", [2, 3]),
            _ => ("[{\"id\":1},\n{\"id\":1.5},\n{\"id\":3,\"size\":\"x\"},\n{\"id\":4}]", [2, 3]),
        };
        let place = self.place();
        std::fs::write(place.path(), text).unwrap();
        let mut options = place.reading();
        options.schema.iter_mut().for_each(|column| column.nullable = true);
        let places = places.map(|line| format!("line {line}")).to_vec();
        vec![DirtySource { source: Source::new(options).keeping(place), places }]
    }

    fn dirty_batches(&self) -> Vec<DirtyBatch> {
        let columns = columns(&[("id", "int64"), ("f", "float64")]);
        let rows = [row(&["1", "NaN"]), row(&["2", "2"]), row(&["3", "-Infinity"])];
        let dirty =
            if self.format != "jsonl" && self.format != "json" { Vec::new() } else { vec![0, 2] };
        vec![DirtyBatch { batch: batch(&columns, &rows), columns, key: Vec::new(), dirty }]
    }
}

impl Target for Place {
    fn writer_options(&self, _mode: WriteMode) -> Options {
        self.writing("append")
    }

    fn reader_options(&self) -> Option<Options> {
        Some(reading(&self.path(), self.more()))
    }

    fn put(&self, rows: &RecordBatch) {
        if self.files.layout == "file" {
            std::fs::write(self.path(), self.files.content(rows)).unwrap();
            return;
        }
        let plan = plan("put", &samples::keyed_columns(), WriteMode::Insert);
        write(self.writing("error"), &plan, &[vec![rows.clone()]]).unwrap();
    }

    fn assert_holds(&self, expected: &[RecordBatch], when: &str) {
        let rows: usize = expected.iter().map(RecordBatch::num_rows).sum();
        if rows == 0 {
            let found = if self.holds_files() { read_all(self, None) } else { Vec::new() };
            let found: usize = found.iter().map(RecordBatch::num_rows).sum();
            assert_eq!(found, 0, "{when}");
            return;
        }
        let columns = columns_of(&expected[0].schema()).unwrap();
        Rows::of(expected).assert_same(&Rows::of(&read_all(self, Some(columns))), when);
    }
}

fn parquet(columns: &[Column], batch: &RecordBatch) -> Vec<u8> {
    let mut encoder = ParquetEncoder::new(&ParquetOptions::default(), columns).unwrap();
    let mut file = Vec::new();
    encoder.start(&mut file).unwrap();
    encoder.encode(batch, &mut file).unwrap();
    encoder.commit(&mut file).unwrap();
    encoder.end(&mut file).unwrap();
    file
}

/// Parquet's intervals have no sign and count milliseconds.
fn is_whole_interval(cell: &str) -> bool {
    let nanoseconds = cell.split(' ').nth_back(1).and_then(|text| text.parse::<u64>().ok());
    let milliseconds = nanoseconds.filter(|n| n % 1_000_000 == 0).map(|n| n / 1_000_000);
    !cell.contains('-') && milliseconds.is_some_and(|n| u32::try_from(n).is_ok())
}

fn read_all(place: &Place, columns: Option<Vec<Column>>) -> Vec<RecordBatch> {
    let reader = reader(reading(&place.path(), place.more()));
    let columns = columns.unwrap_or_else(|| reader.schema().unwrap().columns);
    let request = transload_plugin_api::SplitRequest::new(1, columns.clone());
    let mut batches = Vec::new();
    for split in reader.splits(&request).unwrap() {
        let mut task = reader.open(&split, &columns, None).unwrap();
        while let Some(read) = task.next_batch().unwrap() {
            batches.push(read.batch);
        }
    }
    batches
}
