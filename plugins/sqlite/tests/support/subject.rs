//! What the suite needs to know about SQLite: tables of every form in separate files.

use arrow_array::RecordBatch;
use transload_plugin_api::{
    Column, LogicalType, Options, WriteMode,
    testing::{DirtyBatch, DirtySource, Rows, Source, Subject, Target, samples},
};

use super::{Fixture, plan, read_all};

/// SQLite as the suite's subject, however the plugin was loaded.
pub(crate) struct Sqlite;

struct Table {
    fixture: Fixture,
}

impl Table {
    /// A table as the plugin itself would create it.
    fn new(columns: &[Column], key: &[String]) -> Self {
        let fixture = Fixture::empty();
        let mut plan = plan(WriteMode::Insert, &[], &[]);
        (plan.columns, plan.key, plan.create_table) = (columns.to_vec(), key.to_vec(), true);
        let draft = fixture.writer("t").draft(&plan).unwrap();
        fixture.connect().execute_batch(&draft.statements[0].text).unwrap();
        Self { fixture }
    }

    fn options(&self) -> Options {
        self.fixture.options(&[("table", "t")])
    }
}

impl Subject for Sqlite {
    fn source(&self, rows: u64) -> Source {
        let table = Table::new(&samples::keyed_columns(), &["id".to_owned()]);
        let batch = samples::keyed(1..=rows as i64, 1);
        table.put(&batch);
        Source::new(table.options()).with_rows(Rows::of(&[batch])).keeping(table)
    }

    fn target(&self, columns: &[Column], key: &[String]) -> Box<dyn Target + '_> {
        Box::new(Table::new(columns, key))
    }

    fn takes(&self, logical: &LogicalType, cell: &str) -> bool {
        let year = |cell: &str| cell.starts_with('-') || cell.starts_with('+');
        match logical {
            LogicalType::Float32 | LogicalType::Float64 => !matches!(cell, "NaN" | "-0.0"),
            LogicalType::UInt64 => cell == "NULL" || cell.parse::<i64>().is_ok(),
            LogicalType::Date | LogicalType::Timestamp { .. } | LogicalType::TimestampTz { .. } => {
                !year(cell)
            }
            _ => true,
        }
    }

    fn missing_source(&self) -> Option<Options> {
        let fixture = Fixture::empty();
        // The fixture's folder goes, and the file with it.
        Some(fixture.options(&[("table", "t")]))
    }

    fn dirty_sources(&self) -> Vec<DirtySource> {
        let fixture = Fixture::new(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT);
             INSERT INTO t VALUES (1, 1), (2, 'x'), (3, 3), (17, 1.5);",
        );
        let source = Source::new(fixture.options(&[("table", "t")])).keeping(fixture);
        vec![DirtySource { source, places: vec!["rowid 2".into(), "rowid 17".into()] }]
    }

    fn dirty_batches(&self) -> Vec<DirtyBatch> {
        vec![samples::refused()]
    }
}

impl Target for Table {
    fn writer_options(&self, _mode: WriteMode) -> Options {
        self.options()
    }

    fn reader_options(&self) -> Option<Options> {
        Some(self.options())
    }

    /// Inserts rows of [`samples::keyed_columns`] over a separate connection.
    fn put(&self, rows: &RecordBatch) {
        for some in samples::keyed_as_sql(rows).chunks(1000) {
            let sql = format!("INSERT INTO t VALUES {}", some.join(", "));
            self.fixture.connect().execute_batch(&sql).unwrap();
        }
    }

    /// The other tests compare values over a separate connection.
    fn assert_holds(&self, expected: &[RecordBatch], when: &str) {
        let reader = self.fixture.reader(&[("table", "t")]);
        let batches: Vec<_> =
            read_all(&*reader, 1).into_iter().flatten().map(|read| read.batch).collect();
        Rows::of(expected).assert_same(&Rows::of(&batches), when);
    }
}
