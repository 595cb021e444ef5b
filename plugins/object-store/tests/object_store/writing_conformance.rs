//! The writer under the suite that every plugin passes, on every kind of store.

use std::sync::Arc;

use arrow_array::RecordBatch;
use serde_json::json;
use transload_formats::{
    CellWords, CsvDecoder, CsvDialect, CsvHead, Decoder, JsonDecoder, JsonShape, UnknownKeys,
};
use transload_plugin_api::{
    Column, LogicalType, Options, Secrets, WriteMode, columns_of,
    testing::{self, DirtyBatch, Rows, Subject, Target, samples},
};
use transload_plugin_object_store::ObjectStorePlugin;

use crate::{
    home::{Home, Kind, secrets},
    host::{batch, columns, plan, write},
};

/// Objects of one format below a prefix of one kind of store.
#[derive(Clone, Copy)]
struct Objects {
    kind: Kind,
    format: &'static str,
}

struct Place {
    objects: Objects,
    home: Home,
}

impl Subject for Objects {
    fn target(&self, _: &[Column], _: &[String]) -> Box<dyn Target + '_> {
        Box::new(Place { objects: *self, home: Home::new(self.kind) })
    }

    fn secrets(&self) -> Arc<dyn Secrets> {
        secrets()
    }

    fn types(&self, family: &str) -> Vec<LogicalType> {
        if matches!(family, "list" | "interval") {
            return Vec::new();
        }
        samples::types_of(family)
    }

    fn takes(&self, logical: &LogicalType, cell: &str) -> bool {
        let json_number = !cell.contains("NaN") && !cell.to_lowercase().contains("inf");
        match logical {
            LogicalType::Float32 | LogicalType::Float64 | LogicalType::Numeric => {
                self.format == "csv" || json_number
            }
            LogicalType::Json => self.format == "csv" || !cell.contains("null"),
            _ => true,
        }
    }

    fn dirty_batches(&self) -> Vec<DirtyBatch> {
        let columns = columns(&[("id", "int64"), ("f", "float64")]);
        let rows = [("1", "NaN"), ("2", "2"), ("3", "-Infinity")]
            .map(|(id, f)| vec![id.to_owned(), f.to_owned()]);
        let dirty = if self.format == "csv" { Vec::new() } else { vec![0, 2] };
        vec![DirtyBatch { batch: batch(&columns, &rows), columns, key: Vec::new(), dirty }]
    }
}

impl Target for Place {
    fn writer_options(&self, _mode: WriteMode) -> Options {
        self.home
            .options(json!({"path": "out/", "format": self.objects.format, "if_exists": "append"}))
    }

    fn reader_options(&self) -> Option<Options> {
        None
    }

    fn put(&self, rows: &RecordBatch) {
        let plan = plan("put", &samples::keyed_columns(), WriteMode::Insert);
        let more = json!({"path": "out/", "format": self.objects.format});
        write(&self.home, more, &plan, &[vec![rows.clone()]]).unwrap();
    }

    fn assert_holds(&self, expected: &[RecordBatch], when: &str) {
        let contents: Vec<_> = self.home.data().iter().map(|name| self.home.get(name)).collect();
        let rows: usize = expected.iter().map(RecordBatch::num_rows).sum();
        if rows == 0 {
            let head = if self.objects.format == "csv" { 1 } else { 0 };
            let lines = contents.iter().map(|it| it.iter().filter(|byte| **byte == b'\n').count());
            assert!(lines.into_iter().all(|lines| lines == head), "{when}");
            return;
        }
        let columns = columns_of(&expected[0].schema()).unwrap();
        let found: Vec<_> = contents
            .iter()
            .flat_map(|content| decode(self.objects.format, content, &columns))
            .collect();
        Rows::of(expected).assert_same(&Rows::of(&found), when);
    }
}

/// The rows of an object, by the formats alone.
fn decode(format: &str, content: &[u8], columns: &[Column]) -> Vec<RecordBatch> {
    let words = CellWords::default();
    let (mut decoder, mut rest): (Box<dyn Decoder>, _) = if format == "csv" {
        let dialect = CsvDialect::default();
        let head = CsvHead::read(&dialect, content, true).unwrap().unwrap();
        let decoder = CsvDecoder::new(&dialect, &head.names, columns, &words).unwrap();
        (Box::new(decoder.at(head.bytes, head.line)), &content[head.bytes as usize..])
    } else {
        let shape = JsonShape::Lines;
        let decoder = JsonDecoder::new(shape, columns, &words, [], UnknownKeys::Dirty).unwrap();
        (Box::new(decoder), content)
    };
    let mut batches = Vec::new();
    loop {
        let taken = decoder.decode(rest, true).unwrap();
        rest = &rest[taken..];
        match decoder.flush().unwrap() {
            Some(decoded) => {
                assert_eq!(decoded.dirty, []);
                batches.push(decoded.batch);
            }
            None => return batches,
        }
    }
}

#[test]
fn csv_in_a_folder_conforms() {
    testing::writer::all(&ObjectStorePlugin, &Objects { kind: Kind::Folder, format: "csv" });
}

#[test]
fn json_lines_in_s3_conform() {
    testing::writer::all(&ObjectStorePlugin, &Objects { kind: Kind::S3, format: "jsonl" });
}

#[test]
fn csv_in_azure_conforms() {
    testing::writer::all(&ObjectStorePlugin, &Objects { kind: Kind::Azure, format: "csv" });
}
