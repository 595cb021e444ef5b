//! The store: a folder, in it a file for each table. Replace this module by your store's client.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, ErrorKind as IoKind},
    path::PathBuf,
};

use transload_plugin_api::{Column, Error, Finding, Host, LogicalType, Result, TableInfo};

use crate::NO_COLUMNS;

/// A connection to the store, and the table of the job.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) folder: PathBuf,
    pub(crate) table: Option<String>,
    pub(crate) host: Host,
}

impl Store {
    pub(crate) fn table(&self) -> Result<&str> {
        self.table.as_deref().ok_or_else(|| Error::options("the option `table` is missing"))
    }

    pub(crate) fn path(&self) -> Result<PathBuf> {
        Ok(self.folder.join(format!("{}.rows", self.table()?)))
    }

    /// The columns, or `None` if there is no such table.
    pub(crate) fn columns(&self) -> Result<Option<Vec<Column>>> {
        self.host.cancel().check()?;
        let file = match File::open(self.path()?) {
            Err(error) if error.kind() == IoKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut line = String::new();
        BufReader::new(file).read_line(&mut line)?;
        let head: Vec<(String, String, bool)> = serde_json::from_str(&line).map_err(|error| {
            let wrong = Error::data("the first line names no columns").caused_by(&error);
            wrong.with_code(NO_COLUMNS)
        })?;
        let column = |(name, logical, nullable): (String, String, bool)| {
            let logical: LogicalType =
                logical.parse().map_err(|error| Error::data("an unknown type").caused_by(&error))?;
            Ok(Column::new(name, logical, nullable))
        };
        head.into_iter().map(column).collect::<Result<Vec<_>>>().map(Some)
    }

    /// What can be checked: a stage that fails is a finding, and the last one.
    pub(crate) fn check(&self) -> Result<Vec<Finding>> {
        self.host.cancel().check()?;
        let is_there = self.folder.is_dir();
        let detail = self.folder.display().to_string();
        Ok(vec![Finding { stage: "folder".to_owned(), ok: is_there, detail }])
    }

    pub(crate) fn tables(&self) -> Result<Vec<TableInfo>> {
        let mut tables = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            self.host.cancel().check()?;
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some(name) = name.strip_suffix(".rows") {
                tables.push(TableInfo::new(name, "table"));
            }
        }
        Ok(tables)
    }
}
