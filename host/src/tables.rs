//! The tables that a reader offers, page by page: no more than one page is held.

use transload_plugin_api::{Reader, TableInfo, TablePage, TableRequest};

use crate::Result;

/// Tables of one page.
const PAGE: u32 = 500;

/// The pages of the tables that patterns choose.
pub(crate) struct TablePages<'a> {
    reader: &'a dyn Reader,
    request: TableRequest,
    is_done: bool,
}

impl<'a> TablePages<'a> {
    /// The pages of a reader's tables; without patterns all. `columns`: with columns and keys.
    pub(crate) fn new(reader: &'a dyn Reader, patterns: &[String], columns: bool) -> Self {
        let patterns = patterns.to_vec();
        let request = TableRequest { patterns, columns, ..TableRequest::new(PAGE) };
        Self { reader, request, is_done: false }
    }
}

impl Iterator for TablePages<'_> {
    type Item = Result<Vec<TableInfo>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        match self.reader.tables(&self.request) {
            Ok(TablePage { tables, next }) => {
                self.is_done = next.is_none();
                self.request.after = next;
                Some(Ok(tables))
            }
            Err(error) => {
                self.is_done = true;
                Some(Err(error.into()))
            }
        }
    }
}
