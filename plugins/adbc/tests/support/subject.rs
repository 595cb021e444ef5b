//! What the suite needs to know about a driver: tables in separate files.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, cast::AsArray as _, types::Int32Type};
use transload_plugin_api::{
    Column, LogicalType, Options, WriteMode,
    testing::{DirtyBatch, Rows, Source, Subject, Target, samples},
};

use super::{Driver, Fixture};

/// A driver as the suite's subject, however the plugin was loaded.
pub(crate) struct Adbc(pub(crate) Driver);

struct Table {
    fixture: Fixture,
}

/// A column's type in SQL.
fn native(driver: Driver, column: &Column) -> String {
    use LogicalType as T;
    let name = &column.name;
    match (&column.logical, driver) {
        (T::Text { length: Some(length) }, _) => {
            format!("VARCHAR({length}) CHECK (length(\"{name}\") <= {length})")
        }
        (T::Text { length: None }, _) => "TEXT".to_owned(),
        (T::Boolean, _) => "BOOLEAN".to_owned(),
        (T::Float32, _) => "REAL".to_owned(),
        (T::Float64, _) => "DOUBLE".to_owned(),
        (T::Binary, _) => "BLOB".to_owned(),
        (T::Int8, Driver::Duckdb) => "TINYINT".to_owned(),
        (T::Int16, _) => "SMALLINT".to_owned(),
        (T::Int32, _) => "INTEGER".to_owned(),
        (T::UInt8, Driver::Duckdb) => "UTINYINT".to_owned(),
        (T::UInt16, Driver::Duckdb) => "USMALLINT".to_owned(),
        (T::UInt32, Driver::Duckdb) => "UINTEGER".to_owned(),
        (T::UInt64, Driver::Duckdb) => "UBIGINT".to_owned(),
        (T::Date, Driver::Duckdb) => "DATE".to_owned(),
        (T::Time { .. }, Driver::Duckdb) => "TIME".to_owned(),
        (T::Timestamp { precision: 9 }, Driver::Duckdb) => "TIMESTAMP_NS".to_owned(),
        (T::Timestamp { .. }, Driver::Duckdb) => "TIMESTAMP".to_owned(),
        (T::TimestampTz { .. }, Driver::Duckdb) => "TIMESTAMPTZ".to_owned(),
        (T::Decimal { precision, scale }, Driver::Duckdb) => {
            format!("DECIMAL({precision},{scale})")
        }
        (T::Int64, _) | (_, Driver::Duckdb) => "BIGINT".to_owned(),
        (_, Driver::Sqlite) => String::new(),
    }
}

impl Table {
    fn new(driver: Driver, columns: &[Column], key: &[String]) -> Self {
        let mut parts: Vec<_> = columns
            .iter()
            .map(|column| format!("\"{}\" {}", column.name, native(driver, column)))
            .collect();
        if !key.is_empty() {
            parts.push(format!("PRIMARY KEY (\"{}\")", key.join("\", \"")));
        }
        let create = format!("CREATE TABLE t ({})", parts.join(", "));
        Self { fixture: Fixture::new(driver, &[&create]) }
    }

    fn options(&self) -> Options {
        self.fixture.options(&[("table", "t")])
    }
}

/// The rows as they are read again: drivers tell no lengths of texts, and SQLite has one type of
/// integers.
fn as_read(driver: Driver, rows: &RecordBatch) -> RecordBatch {
    let wide = |array: &ArrayRef| match array.as_primitive_opt::<Int32Type>() {
        Some(numbers) if driver == Driver::Sqlite => {
            Arc::new(numbers.iter().map(|n| n.map(i64::from)).collect::<Int64Array>()) as ArrayRef
        }
        _ => Arc::clone(array),
    };
    let named = rows.schema();
    let names = named.fields().iter().map(|field| field.name().clone());
    RecordBatch::try_from_iter(names.zip(rows.columns().iter().map(wide))).unwrap()
}

impl Subject for Adbc {
    fn source(&self, rows: u64) -> Source {
        let table = Table::new(self.0, &samples::keyed_columns(), &["id".to_owned()]);
        let batch = samples::keyed(1..=rows as i64, 1);
        table.put(&batch);
        let rows = Rows::of(&[as_read(self.0, &batch)]);
        Source::new(table.options()).with_rows(rows).keeping(table)
    }

    fn target(&self, columns: &[Column], key: &[String]) -> Box<dyn Target + '_> {
        Box::new(Table::new(self.0, columns, key))
    }

    /// The types that the database has.
    fn types(&self, family: &str) -> Vec<LogicalType> {
        let is_known = |logical: &LogicalType| match (self.0, logical) {
            (_, LogicalType::Text { length: Some(_) }) => false,
            (Driver::Sqlite, _) => {
                ["int64", "float64", "text", "binary"].contains(&logical.family())
            }
            (_, LogicalType::Decimal { precision, .. }) => *precision <= 38,
            (_, LogicalType::Time { precision }) => *precision == 6,
            (_, LogicalType::Timestamp { precision }) => [6, 9].contains(precision),
            (_, LogicalType::TimestampTz { precision }) => *precision == 6,
            (_, logical) => !["numeric", "duration", "interval", "json", "uuid", "list"]
                .contains(&logical.family()),
        };
        samples::types_of(family).into_iter().filter(is_known).collect()
    }

    fn knows_values(&self) -> bool {
        false
    }

    fn missing_source(&self) -> Option<Options> {
        Some(Fixture::new(self.0, &[]).options(&[("table", "t")]))
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

    /// Inserts rows of [`samples::keyed_columns`] by statements.
    fn put(&self, rows: &RecordBatch) {
        for some in samples::keyed_as_sql(rows).chunks(1000) {
            let sql = format!("INSERT INTO t VALUES {}", some.join(", "));
            self.fixture.execute(&[&sql]).unwrap();
        }
    }

    fn assert_holds(&self, expected: &[RecordBatch], when: &str) {
        let found = self.fixture.query("SELECT * FROM t");
        let expected: Vec<_> =
            expected.iter().map(|rows| as_read(self.fixture.driver, rows)).collect();
        if found.iter().map(RecordBatch::num_rows).sum::<usize>() == 0 {
            // Without rows, the driver of SQLite knows no types.
            assert_eq!(expected.iter().map(RecordBatch::num_rows).sum::<usize>(), 0, "{when}");
            return;
        }
        Rows::of(&expected).assert_same(&Rows::of(&found), when);
    }
}
