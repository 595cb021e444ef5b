//! What the suite needs to know about PostgreSQL: tables of every form in one database.

use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc};

use arrow_array::RecordBatch;
use transload_plugin_api::{
    Column, LogicalType, Options, Secrets, WriteMode,
    testing::{DirtyBatch, DirtySource, Rows, Side, Source, Subject, Target, samples},
};

use super::{Fixture, plan, read_all, secrets};

/// PostgreSQL as the suite's subject, however the plugin was loaded. One database for all tables,
/// because creating a database takes longer than anything else here.
pub(crate) struct Postgres {
    fixture: Rc<Fixture>,
    tables: Cell<u32>,
}

struct Table {
    fixture: Rc<Fixture>,
    name: String,
}

impl Table {
    /// A table as the plugin itself would create it.
    fn new(subject: &Postgres, columns: &[Column], key: &[String]) -> Self {
        let (fixture, name) = (Rc::clone(&subject.fixture), subject.next_name());
        let mut plan = plan(WriteMode::Insert, &[], &[]);
        (plan.columns, plan.key, plan.create_table) = (columns.to_vec(), key.to_vec(), true);
        let draft = fixture.writer(&name).draft(&plan).unwrap();
        fixture.run(&draft.statements[0].text);
        Self { fixture, name }
    }

    fn options(&self) -> Options {
        self.fixture.options(&[("table", &self.name)])
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.fixture.run(&format!("DROP TABLE {}", self.name));
    }
}

impl Postgres {
    pub(crate) fn new() -> Self {
        Self { fixture: Rc::new(Fixture::new("")), tables: Cell::new(0) }
    }

    fn next_name(&self) -> String {
        self.tables.set(self.tables.get() + 1);
        format!("t{}", self.tables.get())
    }
}

impl Subject for Postgres {
    fn source(&self, rows: u64) -> Source {
        let table = Table::new(self, &samples::keyed_columns(), &["id".to_owned()]);
        let batch = samples::keyed(1..=rows as i64, 1);
        table.put(&batch);
        Source::new(table.options()).with_rows(Rows::of(&[batch])).keeping(table)
    }

    fn target(&self, columns: &[Column], key: &[String]) -> Box<dyn Target + '_> {
        Box::new(Table::new(self, columns, key))
    }

    fn secrets(&self) -> Arc<dyn Secrets> {
        secrets()
    }

    fn at_address(&self, _: Side, address: SocketAddr) -> Option<Options> {
        let mut options = self.fixture.options(&[("table", "t")]);
        options.values.insert("host".to_owned(), address.ip().to_string().into());
        options.values.insert("port".to_owned(), address.port().into());
        Some(options)
    }

    fn missing_source(&self) -> Option<Options> {
        Some(self.fixture.options(&[("table", "no_such_table")]))
    }

    /// PostgreSQL's timestamps have microseconds.
    fn types(&self, family: &str) -> Vec<LogicalType> {
        let mut types = samples::types_of(family);
        types.retain(|it| !it.to_string().ends_with("(9)"));
        types
    }

    fn takes(&self, logical: &LogicalType, cell: &str) -> bool {
        match logical {
            LogicalType::Text { .. } => !cell.contains("\\0"),
            LogicalType::List(_) => !cell.contains("\\0"),
            LogicalType::Numeric => cell != "\"-0.00\"",
            LogicalType::Interval => !cell.ends_with(&format!("{} ns", i64::MAX)),
            _ => true,
        }
    }

    fn dirty_sources(&self) -> Vec<DirtySource> {
        let fixture = Fixture::new(
            "CREATE TABLE t(id int8 PRIMARY KEY, d date, t time, n numeric(5,2), a int[]);
             INSERT INTO t VALUES (1, '2024-02-29', '12:00', 1.5, '{1}');
             INSERT INTO t(id, d) VALUES (2, 'infinity');
             INSERT INTO t(id, t) VALUES (3, '24:00');
             INSERT INTO t(id) VALUES (4);
             INSERT INTO t(id, n) VALUES (5, 'NaN');
             INSERT INTO t(id, a) VALUES (6, '[0:0]={1}'), (7, '{{1},{2}}');
             INSERT INTO t(id, d) VALUES (8, '-infinity')",
        );
        let source = Source::new(fixture.options(&[("table", "t")])).keeping(fixture);
        let places = [2, 3, 5, 6, 7, 8].map(|row| format!("t, row {row}"));
        vec![DirtySource { source, places: places.to_vec() }]
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
        let all = samples::keyed_as_sql(rows);
        if !all.is_empty() {
            self.fixture.run(&format!("INSERT INTO {} VALUES {}", self.name, all.join(", ")));
        }
    }

    /// The other tests compare values over a separate connection.
    fn assert_holds(&self, expected: &[RecordBatch], when: &str) {
        let reader = self.fixture.reader(&[("table", &self.name)]);
        let batches: Vec<_> =
            read_all(&*reader, 1).into_iter().flatten().map(|read| read.batch).collect();
        Rows::of(expected).assert_same(&Rows::of(&batches), when);
    }
}
