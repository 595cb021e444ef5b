//! What the suite needs to know about objects that are written and read back, in each kind of
//! store.

use std::sync::Arc;

use arrow_array::RecordBatch;
use serde_json::json;
use transload_formats::{Encoding, WriteOptions};
use transload_plugin_api::{
    Column, LogicalType, Options, Plugin, Secrets, SplitRequest, WriteMode, columns_of,
    testing::{DirtyBatch, DirtySource, Rows, Source, Subject, Target, samples},
};
use transload_plugin_object_store::ObjectStorePlugin;
use transload_tests_buckets::{Bucket, Kind, secrets};

use crate::host::{batch, columns, plan, write};

/// Objects of one format below a prefix of one kind of store.
#[derive(Clone, Copy)]
pub(crate) struct Objects {
    pub(crate) kind: Kind,
    pub(crate) format: &'static str,
}

struct Place {
    objects: Objects,
    bucket: Bucket,
}

impl Objects {
    fn place(self) -> Place {
        Place { objects: self, bucket: Bucket::new(self.kind) }
    }

    /// A table in this format.
    fn content(self, batch: &RecordBatch) -> Vec<u8> {
        let options = Options::from_pairs([("format", self.format)]);
        let encoding = Encoding::new(&WriteOptions::parse(&options).unwrap(), "x").unwrap();
        let mut encoder = encoding.encoder(&samples::keyed_columns()).unwrap();
        let mut content = Vec::new();
        encoder.start(&mut content).unwrap();
        encoder.encode(batch, &mut content).unwrap();
        encoder.commit(&mut content).unwrap();
        encoder.end(&mut content).unwrap();
        content
    }
}

impl Place {
    /// JSON without rows has no keys, so the job declares the columns.
    fn reading(&self) -> Options {
        let more = json!({"path": ["out/"], "format": self.objects.format});
        let options = self.bucket.options(more);
        match self.objects.format {
            "parquet" => options,
            _ => Options { schema: samples::keyed_columns(), ..options },
        }
    }
}

impl Subject for Objects {
    fn source(&self, rows: u64) -> Source {
        let place = self.place();
        let batch = samples::keyed(1..=rows as i64, 1);
        place.bucket.put("out/x", self.content(&batch));
        Source::new(place.reading()).with_rows(Rows::of(&[batch])).keeping(place)
    }

    fn target(&self, _: &[Column], _: &[String]) -> Box<dyn Target + '_> {
        Box::new(self.place())
    }

    fn dirty_sources(&self) -> Vec<DirtySource> {
        let (text, places) = match self.format {
            "csv" => ("id,name,size\n1,a,1\n2,b\n3,c,x\n4,d,4\n", [3, 4]),
            "jsonl" => ("{\"id\":1}\nwrong\n{\"id\":3,\"size\":\"x\"}\n{\"id\":4}\n", [2, 3]),
            _ => return Vec::new(),
        };
        let place = self.place();
        place.bucket.put("out/x", text);
        let mut options = place.reading();
        options.schema.iter_mut().for_each(|column| column.nullable = true);
        let places = places.map(|line| format!("line {line}")).to_vec();
        vec![DirtySource { source: Source::new(options).keeping(place), places }]
    }

    fn secrets(&self) -> Arc<dyn Secrets> {
        secrets()
    }

    fn types(&self, family: &str) -> Vec<LogicalType> {
        if self.format != "parquet" && matches!(family, "list" | "interval") {
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

    fn dirty_batches(&self) -> Vec<DirtyBatch> {
        let columns = columns(&[("id", "int64"), ("f", "float64")]);
        let rows = [("1", "NaN"), ("2", "2"), ("3", "-Infinity")]
            .map(|(id, f)| vec![id.to_owned(), f.to_owned()]);
        let dirty = if self.format == "jsonl" { vec![0, 2] } else { Vec::new() };
        vec![DirtyBatch { batch: batch(&columns, &rows), columns, key: Vec::new(), dirty }]
    }
}

impl Target for Place {
    fn writer_options(&self, _mode: WriteMode) -> Options {
        self.bucket
            .options(json!({"path": "out/", "format": self.objects.format, "if_exists": "append"}))
    }

    fn reader_options(&self) -> Option<Options> {
        let more = json!({"path": ["out/"], "format": self.objects.format});
        Some(self.bucket.options(more))
    }

    fn put(&self, rows: &RecordBatch) {
        let plan = plan("put", &samples::keyed_columns(), WriteMode::Insert);
        let more = json!({"path": "out/", "format": self.objects.format});
        write(&self.bucket, more, &plan, &[vec![rows.clone()]]).unwrap();
    }

    fn assert_holds(&self, expected: &[RecordBatch], when: &str) {
        let rows: usize = expected.iter().map(RecordBatch::num_rows).sum();
        let columns = match expected.first() {
            Some(batch) if rows > 0 => columns_of(&batch.schema()).unwrap(),
            _ => samples::keyed_columns(),
        };
        let found = if self.bucket.data().is_empty() { Vec::new() } else { self.read(&columns) };
        match rows {
            0 => assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 0, "{when}"),
            _ => Rows::of(expected).assert_same(&Rows::of(&found), when),
        }
    }
}

impl Place {
    fn read(&self, columns: &[Column]) -> Vec<RecordBatch> {
        let options = self.reader_options().unwrap();
        let reader = ObjectStorePlugin.reader(options, self.bucket.host()).unwrap();
        let request = SplitRequest::new(1, columns.to_vec());
        let mut batches = Vec::new();
        for split in reader.splits(&request).unwrap() {
            let mut task = reader.open(&split, columns, None).unwrap();
            while let Some(read) = task.next_batch().unwrap() {
                assert_eq!(read.dirty, []);
                batches.push(read.batch);
            }
        }
        batches
    }
}

/// Parquet's intervals count whole milliseconds, none of them negative.
fn is_whole_interval(cell: &str) -> bool {
    let nanoseconds = cell.split(' ').nth_back(1).and_then(|text| text.parse::<u64>().ok());
    let milliseconds = nanoseconds.filter(|n| n % 1_000_000 == 0).map(|n| n / 1_000_000);
    !cell.contains('-') && milliseconds.is_some_and(|n| u32::try_from(n).is_ok())
}
