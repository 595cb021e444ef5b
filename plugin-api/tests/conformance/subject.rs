//! What the suite needs to know about the shelf.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow_array::RecordBatch;
use transload_plugin_api::{
    Column, Options, Result, Secret, Secrets, WriteMode,
    testing::{Rows, Side, Source, Subject, Target, samples},
};

use crate::shelf::{PASSWORD, Table, shelf};

pub(crate) struct ShelfSubject;

struct Password;

impl Secrets for Password {
    fn secret(&self, _: &str) -> Result<Option<Secret>> {
        Ok(Some(Secret::new(PASSWORD)))
    }
}

struct Place {
    name: String,
}

impl Place {
    fn new(columns: &[Column], key: &[String]) -> Self {
        static TABLES: AtomicU64 = AtomicU64::new(0);
        let name = format!("t{}", TABLES.fetch_add(1, Ordering::Relaxed));
        shelf().tables.insert(name.clone(), Table::new(columns, key));
        Self { name }
    }

    fn with_rows(rows: u64) -> (Self, RecordBatch) {
        let place = Self::new(&samples::keyed_columns(), &["id".to_owned()]);
        let batch = samples::keyed(1..=rows as i64, 1);
        place.put(&batch);
        (place, batch)
    }

    fn options(&self) -> Options {
        Options::from_pairs([("table", self.name.as_str())])
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        shelf().tables.remove(&self.name);
    }
}

impl Subject for ShelfSubject {
    fn source(&self, rows: u64) -> Source {
        let (place, batch) = Place::with_rows(rows);
        Source::new(place.options()).with_rows(Rows::of(&[batch])).keeping(place)
    }

    fn target(&self, columns: &[Column], key: &[String]) -> Box<dyn Target + '_> {
        Box::new(Place::new(columns, key))
    }

    fn secrets(&self) -> Arc<dyn Secrets> {
        Arc::new(Password)
    }

    fn at_address(&self, _: Side, address: SocketAddr) -> Option<Options> {
        Some(Options::from_pairs([("table", "t".to_owned()), ("address", address.to_string())]))
    }

    fn missing_source(&self) -> Option<Options> {
        Some(Options::from_pairs([("table", "no such table")]))
    }

    fn wrong_kinds(&self) -> Vec<Source> {
        let (place, _) = Place::with_rows(5);
        if let Some(table) = shelf().tables.get_mut(&place.name) {
            table.others = 2;
        }
        vec![Source::new(place.options()).keeping(place)]
    }
}

impl Target for Place {
    fn writer_options(&self, _: WriteMode) -> Options {
        self.options()
    }

    fn reader_options(&self) -> Option<Options> {
        Some(self.options())
    }

    fn put(&self, rows: &RecordBatch) {
        if let Some(table) = shelf().tables.get_mut(&self.name) {
            table.insert(rows);
        }
    }

    fn assert_holds(&self, expected: &[RecordBatch], when: &str) {
        let rows = shelf().tables.get(&self.name).map(|table| table.rows.clone());
        Rows::of(expected).assert_same(&Rows::of(&rows.unwrap_or_default()), when);
    }

    fn put_beside(&self, rows: &RecordBatch) -> bool {
        self.put(rows);
        true
    }

    fn leftovers(&self) -> Vec<String> {
        shelf().tables.keys().filter(|name| name.starts_with('~')).cloned().collect()
    }
}
