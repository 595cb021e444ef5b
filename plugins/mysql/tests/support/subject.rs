//! What the suite needs to know about MySQL and MariaDB: a separate database for each table.

use std::{net::SocketAddr, sync::Arc};

use arrow_array::RecordBatch;
use transload_plugin_api::{
    Column, LogicalType, Options, Secrets, WriteMode, columns_of,
    testing::{DirtyBatch, DirtySource, Rows, Side, Source, Subject, Target, samples},
};

use super::{Fixture, Server, plan, read_all};

/// A server as the suite's subject, however the plugin was loaded.
pub(crate) struct MysqlServer {
    server: Server,
    mariadb: bool,
}

impl MysqlServer {
    pub(crate) fn mariadb() -> Self {
        Self { server: Server::mariadb(), mariadb: true }
    }

    pub(crate) fn mysql() -> Self {
        Self { server: Server::mysql(), mariadb: false }
    }
}

struct Table {
    fixture: Fixture,
}

impl Table {
    /// A table as the plugin itself would create it.
    fn new(server: &Server, columns: &[Column], key: &[String]) -> Self {
        let fixture = Fixture::new(server, "");
        let mut plan = plan(WriteMode::Insert, &[], &[]);
        (plan.columns, plan.key, plan.create_table) = (columns.to_vec(), key.to_vec(), true);
        let draft = fixture.writer("t").draft(&plan).unwrap();
        fixture.run(&draft.statements[0].text);
        Self { fixture }
    }

    fn options(&self) -> Options {
        self.fixture.options(&[("table", "t")])
    }
}

impl Subject for MysqlServer {
    fn source(&self, rows: u64) -> Source {
        let table = Table::new(&self.server, &samples::keyed_columns(), &["id".to_owned()]);
        let batch = samples::keyed(1..=rows as i64, 1);
        table.put(&batch);
        Source::new(table.options()).with_rows(Rows::of(&[batch])).keeping(table)
    }

    fn target(&self, columns: &[Column], key: &[String]) -> Box<dyn Target + '_> {
        Box::new(Table::new(&self.server, columns, key))
    }

    fn secrets(&self) -> Arc<dyn Secrets> {
        Fixture::secrets(&self.server)
    }

    fn at_address(&self, _: Side, address: SocketAddr) -> Option<Options> {
        let mut options = Fixture::new(&self.server, "").options(&[("table", "t")]);
        options.values.insert("host".to_owned(), address.ip().to_string().into());
        options.values.insert("port".to_owned(), address.port().into());
        Some(options)
    }

    fn missing_source(&self) -> Option<Options> {
        Some(Fixture::new(&self.server, "").options(&[("table", "t")]))
    }

    fn types(&self, family: &str) -> Vec<LogicalType> {
        let names: &[&str] = match family {
            "decimal" => &["decimal(15,2)", "decimal(38,0)", "decimal(38,10)", "decimal(65,30)"],
            "timestamp" => &["timestamp", "timestamp(3)", "timestamp(0)"],
            // MySQL sorts keys and drops duplicate ones, so JSON text changes.
            "json" if !self.mariadb => &[],
            "timestamptz" => &["timestamptz", "timestamptz(0)"],
            other => return samples::types_of(other),
        };
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn takes(&self, logical: &LogicalType, cell: &str) -> bool {
        match logical {
            LogicalType::Float32 | LogicalType::Float64 => {
                !matches!(cell, "NaN" | "-0.0" | "inf" | "-inf" | "Infinity" | "-Infinity")
            }
            // On MySQL, the longest duration has no fraction.
            LogicalType::Duration if !self.mariadb => !cell.contains("3020399999999"),
            // 1970-01-01 00:00:01 to 2038-01-19 03:14:07
            LogicalType::TimestampTz { .. } => {
                let inside = ("1970-01-01T00:00:01".."2038-01-19T03:14:08").contains(&cell)
                    || ("1970-01-01 00:00:01".."2038-01-19 03:14:08").contains(&cell);
                cell == "NULL" || inside
            }
            _ => true,
        }
    }

    fn reads_back(&self, logical: &LogicalType) -> bool {
        !matches!(logical, LogicalType::Boolean | LogicalType::Time { .. })
    }

    fn dirty_sources(&self) -> Vec<DirtySource> {
        let fixture = Fixture::new(
            &self.server,
            "SET sql_mode = '';
             CREATE TABLE t(id INT PRIMARY KEY, d DATE);
             INSERT INTO t VALUES (1, '2024-01-01'), (2, '0000-00-00'), (3, NULL), (17, '2024-00-10');",
        );
        let source = Source::new(fixture.options(&[("table", "t")])).keeping(fixture);
        vec![DirtySource { source, places: vec!["key 2".into(), "key 17".into()] }]
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

    /// Inserts rows of [`samples::keyed_columns`] with the server's own client.
    fn put(&self, rows: &RecordBatch) {
        for some in samples::keyed_as_sql(rows).chunks(1000) {
            self.fixture.run(&format!("INSERT INTO t VALUES {};", some.join(", ")));
        }
    }

    /// The other tests compare values with the server's own client.
    fn assert_holds(&self, expected: &[RecordBatch], when: &str) {
        let reader = self.fixture.reader(&[("table", "t")]);
        // A boolean is a number, and a time a duration, unless they are requested as such.
        let wanted = match expected.first() {
            Some(batch) => columns_of(&batch.schema()).unwrap(),
            None => reader.schema().unwrap().columns,
        };
        let batches: Vec<_> =
            read_all(&*reader, &wanted, 1).into_iter().flatten().map(|read| read.batch).collect();
        Rows::of(expected).assert_same(&Rows::of(&batches), when);
    }
}
