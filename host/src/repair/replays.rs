//! Which dirty rows of a run were sent again, and by which run: `replays.jsonl` in its folder. A
//! line is on disk before a replay writes anything, and another one when its outcome is known, so
//! that a replay that was killed is seen by the next one.

use std::{
    collections::HashMap,
    fs::{File, TryLockError},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use transload_plugin_api::code;

use super::{
    row::RowId,
    run::{KeptRun, unreadable},
};
use crate::{Error, Exit, Result, journal::private};

const FILE: &str = "replays.jsonl";

/// What is recorded of the replays of a run.
#[derive(Debug, Default)]
pub(crate) struct Replays {
    /// Rows that were sent again, and by which run.
    sent: HashMap<RowId, String>,
    /// Rows of a replay whose outcome is not known.
    uncertain: HashMap<RowId, String>,
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum Line {
    /// A replay is about to begin.
    Begun {
        replay: String,
        /// Task, first and last number of rows that follow each other in the file.
        rows: Vec<(u32, u64, u64)>,
    },
    /// It has ended.
    Ended {
        replay: String,
        /// The first rows of it, which are in the target or in its own dirty file.
        sent: u64,
        /// Whether the others are certainly not in the target.
        is_certain: bool,
    },
}

/// How a replay has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// How many rows, from the first one, were committed.
    pub(crate) sent: u64,
    /// Whether the others are certainly not in the target.
    pub(crate) is_certain: bool,
}

/// The record of a replay that is at work. No other one of the same run begins before it is dropped.
pub(crate) struct Replaying {
    path: PathBuf,
    file: File,
    replay: String,
}

impl Replays {
    /// Reads what is recorded.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn read(run: &KeptRun) -> Result<Self> {
        let path = run.path.join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        Self::of(&run.path, &path).map_err(|error| unreadable(&path, &error))
    }

    fn of(run: &Path, path: &Path) -> io::Result<Self> {
        let (mut replays, mut open) = (Self::default(), Vec::<(String, Vec<RowId>)>::new());
        for line in BufReader::new(File::open(path)?).split(b'\n') {
            // A line that was not written to its end belongs to a replay that wrote nothing.
            let Ok(line) = serde_json::from_slice(&line?) else { continue };
            match line {
                Line::Begun { replay, rows } => open.push((replay, numbers(&rows))),
                Line::Ended { replay, sent, is_certain } => {
                    let at = open.iter().position(|(name, _)| *name == replay);
                    let Some(at) = at else { continue };
                    let (replay, rows) = open.remove(at);
                    replays.add(&replay, &rows, Ended { sent, is_certain });
                }
            }
        }
        for (replay, rows) in open {
            // It was killed, or resumed since and has a report.
            let folder = run.parent().unwrap_or(run).join(&replay);
            let sent = match super::run::status_of(&folder).as_deref() {
                Some("done") => rows.len() as u64,
                _ => 0,
            };
            replays.add(&replay, &rows, Ended { sent, is_certain: false });
        }
        Ok(replays)
    }

    fn add(&mut self, replay: &str, rows: &[RowId], Ended { sent, is_certain }: Ended) {
        let (sent, rest) = rows.split_at(rows.len().min(sent as usize));
        self.sent.extend(sent.iter().map(|id| (*id, replay.to_owned())));
        if !is_certain {
            self.uncertain.extend(rest.iter().map(|id| (*id, replay.to_owned())));
        }
    }

    /// How many rows were sent again.
    pub(crate) fn sent(&self) -> usize {
        self.sent.len()
    }

    /// The run that has sent this row again.
    pub(crate) fn by(&self, id: RowId) -> Option<&str> {
        self.sent.get(&id).map(String::as_str)
    }

    /// The replay that may have sent this row again.
    pub(crate) fn perhaps_by(&self, id: RowId) -> Option<&str> {
        self.uncertain.get(&id).filter(|_| !self.sent.contains_key(&id)).map(String::as_str)
    }
}

impl Replaying {
    /// Keeps other replays of the run away.
    ///
    /// # Errors
    /// [`Exit::Locked`] if one is at work.
    pub(crate) fn lock(run: &KeptRun, replay: &str) -> Result<Self> {
        let path = run.path.join(FILE);
        let file = private().create(true).append(true).open(&path);
        let file = file.map_err(|error| unreadable(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, file, replay: replay.to_owned() }),
            Err(TryLockError::WouldBlock) => {
                let message = format!("another replay of run {} is at work", run.plan.run);
                Err(Error::new(Exit::Locked, message).code(code::DIRTY_REPLAYED))
            }
            Err(TryLockError::Error(error)) => Err(unreadable(&path, &error)),
        }
    }

    /// Records the rows that are about to be sent, in their order.
    ///
    /// # Errors
    /// If that cannot be written: then nothing may be sent.
    pub(crate) fn begin(&mut self, ids: &[RowId]) -> Result<()> {
        self.append(&Line::Begun { replay: self.replay.clone(), rows: ranges(ids) })
    }

    /// Records how it has ended.
    ///
    /// # Errors
    /// If that cannot be written.
    pub(crate) fn end(&mut self, Ended { sent, is_certain }: Ended) -> Result<()> {
        self.append(&Line::Ended { replay: self.replay.clone(), sent, is_certain })
    }

    fn append(&mut self, line: &Line) -> Result<()> {
        let write = || -> io::Result<()> {
            // Behind a line that was not written to its end.
            let mut text = b"\n".to_vec();
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
            (&self.file).write_all(&text)?;
            self.file.sync_data()
        };
        write().map_err(|error| {
            Error::new(Exit::Failed, format!("cannot record the replay: {error}"))
                .at(self.path.display().to_string())
                .code(code::RUN_FOLDER)
        })
    }
}

fn ranges(ids: &[RowId]) -> Vec<(u32, u64, u64)> {
    let mut ranges: Vec<(u32, u64, u64)> = Vec::new();
    for RowId { task, number } in ids.iter().copied() {
        match ranges.last_mut() {
            Some(last) if last.0 == task && last.2 + 1 == number => last.2 = number,
            _ => ranges.push((task, number, number)),
        }
    }
    ranges
}

fn numbers(ranges: &[(u32, u64, u64)]) -> Vec<RowId> {
    let of = |(task, first, last): &(u32, u64, u64)| {
        let task = *task;
        (*first..=*last).map(move |number| RowId { task, number })
    };
    ranges.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(texts: &[&str]) -> Vec<RowId> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn rows_are_recorded_in_their_order() {
        let rows = ids(&["0.1", "0.2", "0.3", "2.9", "0.7", "0.6"]);
        assert_eq!(ranges(&rows), [(0, 1, 3), (2, 9, 9), (0, 7, 7), (0, 6, 6)]);
        assert_eq!(numbers(&ranges(&rows)), rows);
    }

    #[test]
    fn what_a_replay_has_sent_and_what_is_uncertain_is_known_later() {
        let state = tempfile::tempdir().unwrap();
        let run = state.path().join("job").join("run");
        std::fs::create_dir_all(&run).unwrap();
        let path = run.join(FILE);
        let begin = |replay: &str, rows: &[&str]| {
            let file = private().create(true).append(true).open(&path).unwrap();
            let mut it = Replaying { path: path.clone(), file, replay: replay.to_owned() };
            it.begin(&ids(rows)).unwrap();
            it
        };
        begin("a", &["0.1", "0.2", "0.3"]).end(Ended { sent: 2, is_certain: true }).unwrap();
        begin("b", &["0.4", "0.5"]).end(Ended { sent: 1, is_certain: false }).unwrap();
        drop(begin("killed", &["0.6"]));
        drop(begin("resumed", &["0.7"]));
        let resumed = state.path().join("job").join("resumed");
        std::fs::create_dir_all(&resumed).unwrap();
        std::fs::write(resumed.join("report.json"), r#"{"status": "done"}"#).unwrap();
        std::fs::write(
            &path,
            [std::fs::read(&path).unwrap(), b"{\"state\":\"beg".to_vec()].concat(),
        )
        .unwrap();
        begin("last", &["0.8"]).end(Ended { sent: 1, is_certain: true }).unwrap();
        let replays = Replays::of(&run, &path).unwrap();
        let known = |row: &str| {
            let id = row.parse().unwrap();
            (replays.by(id), replays.perhaps_by(id))
        };
        assert_eq!(known("0.2"), (Some("a"), None));
        assert_eq!(known("0.3"), (None, None));
        assert_eq!((known("0.4"), known("0.5")), ((Some("b"), None), (None, Some("b"))));
        assert_eq!(known("0.6"), (None, Some("killed")));
        assert_eq!(known("0.7"), (Some("resumed"), None));
        assert_eq!(known("0.8"), (Some("last"), None));
        assert_eq!(replays.sent(), 5);
    }
}
