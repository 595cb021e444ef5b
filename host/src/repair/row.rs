//! One kept dirty row: a line of a dirty file, as docs/json.md describes it, and its id.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
    str::FromStr,
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use transload_plugin_api::{DirtyClass, RowText};

use super::run::{KeptRun, unreadable};
use crate::Result;

/// A row of a run: its task, and its number in the task's dirty file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowId {
    pub(crate) task: u32,
    pub(crate) number: u64,
}

impl RowId {
    /// As an exported file has it, behind the mark of the run: `55e7902b.0.17`.
    pub(crate) fn marked(self, mark: &str) -> String {
        format!("{mark}.{self}")
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.task, self.number)
    }
}

impl FromStr for RowId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (task, number) = text.split_once('.').ok_or(())?;
        let (task, number) = (task.parse().map_err(|_| ())?, number.parse().map_err(|_| ())?);
        Ok(Self { task, number })
    }
}

/// Which part of the run refused a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    Read,
    Convert,
    Write,
}

/// What a line of a dirty file says.
#[derive(Debug, Deserialize)]
pub(crate) struct KeptRow {
    pub(crate) stage: Stage,
    #[serde(default)]
    pub(crate) place: Option<String>,
    /// The file's whole name.
    #[serde(default)]
    pub(crate) file: Option<String>,
    #[serde(default)]
    pub(crate) row: Option<Values>,
    #[serde(default)]
    pub(crate) text: Option<RowText>,
    /// The columns of the text's cells, if they are not in the plan's order.
    #[serde(default)]
    pub(crate) columns: Vec<String>,
    #[serde(default)]
    pub(crate) cut: bool,
    #[serde(default)]
    pub(crate) redacted: bool,
    pub(crate) errors: Vec<KeptError>,
}

/// One error of a row.
#[derive(Debug, Deserialize)]
pub(crate) struct KeptError {
    pub(crate) column: Option<String>,
    pub(crate) code: String,
    pub(crate) found: Option<String>,
    pub(crate) reason: String,
}

impl KeptError {
    pub(crate) fn class(&self) -> DirtyClass {
        DirtyClass::of(&self.code)
    }
}

/// The values of a row by column, in order.
#[derive(Debug)]
pub(crate) struct Values(pub(crate) Vec<(String, Box<RawValue>)>);

impl Values {
    pub(crate) fn get(&self, column: &str) -> Option<&RawValue> {
        self.0.iter().find(|(name, _)| name == column).map(|(_, value)| value.as_ref())
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Values;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Values(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl KeptRun {
    /// Passes each dirty row to `take`, in the order of tasks. A last line that was not written to
    /// its end is left out.
    ///
    /// # Errors
    /// If a file cannot be read, or a line has another form.
    pub(crate) fn each_row(&self, mut take: impl FnMut(RowId, KeptRow)) -> Result<()> {
        for file in self.dirty_files()? {
            read(&file, &mut take).map_err(|error| unreadable(&file, &error))?;
        }
        Ok(())
    }
}

fn read(path: &Path, take: &mut impl FnMut(RowId, KeptRow)) -> io::Result<()> {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let task = name.strip_prefix("dirty-").and_then(|task| task.parse().ok());
    let task = task.ok_or_else(|| io::Error::other("no number of a task in its name"))?;
    let mut lines = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 || line.last() != Some(&b'\n') {
            return Ok(());
        }
        let row = serde_json::from_slice(&line)
            .map_err(|error| io::Error::other(format!("line {number}: {error}")))?;
        take(RowId { task, number }, row);
    }
    Ok(())
}
