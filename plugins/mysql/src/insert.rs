//! Multi-row INSERTs, each within a savepoint, divided until the refused rows are found; and the
//! outcome of each row from the server's counts.

use std::ops::Range;

use arrow_array::RecordBatch;
use transload_plugin_api::{DirtyRow, Result, WriteMode, WritePlan, Written};
use transload_tables::{Conflict, Dialect as _};

use crate::{
    answer::{Done, Server},
    bulk::{BACK, SAVEPOINT},
    catalog::Table,
    dialect::{MysqlDialect, quoted},
    draft::drafting,
    failure::{Failure, fault_of, named_column, named_row},
    rows::{Encoded, RowEncoder, dirty},
    session::{QUERY, Session},
};

/// The target size of a statement, in bytes.
const STATEMENT: usize = 1 << 20;

/// Inserts the rows of one task.
pub(crate) struct Inserter {
    mode: WriteMode,
    /// Whether an upsert has columns to update.
    updates: bool,
    /// `INSERT INTO t (...) VALUES `, and the text after the rows.
    head: String,
    tail: String,
    /// For REPLACE, which does not count existing rows that did not change: an INSERT that
    /// determines which rows are new, as the text before and after the rows.
    probe: Option<(String, String)>,
    /// Whether rows are sent one by one, because the server keeps half of a refused statement, or
    /// because its counts for many rows would not be exact.
    single: bool,
    /// Whether a statement can be rolled back.
    transactional: bool,
    /// With this many dirty rows in a batch the chunk is rolled back.
    enough_dirty: Option<u64>,
    packet: Vec<u8>,
    rows: Vec<Encoded>,
}

/// The outcome of one statement.
enum Outcome {
    Done(Done),
    /// Values are at fault: the dirty row if it was one row, and the row that the server named.
    Refused {
        dirty: Box<DirtyRow>,
        named: Option<usize>,
    },
}

impl Inserter {
    /// Inserts into the table and the columns of `target`; `into` is the table's name.
    pub(crate) fn new(plan: &WritePlan, target: &Table, into: &str, server: &Server) -> Self {
        let verb = if plan.mode == WriteMode::Replace { "REPLACE" } else { "INSERT" };
        let several = target.keys.len() > 1;
        let transactional = target.is_transactional();
        // Triggers would run for the probe as well.
        let quiet = target.triggers.is_empty() && transactional;
        Self {
            mode: plan.mode,
            updates: !drafting(plan).updated_columns().is_empty(),
            head: format!("{verb} INTO {into} VALUES "),
            tail: conflict_clause(plan, server),
            probe: (plan.mode == WriteMode::Replace && quiet).then(|| {
                let ignore = WritePlan { mode: WriteMode::Ignore, ..plan.clone() };
                (format!("INSERT INTO {into} VALUES "), conflict_clause(&ignore, server))
            }),
            single: !transactional || (plan.mode == WriteMode::Replace && several && !quiet),
            transactional,
            enough_dirty: plan.enough_dirty(),
            packet: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Writes a batch inside the session's open transaction.
    pub(crate) fn write(
        &mut self,
        session: &mut Session,
        encoder: &mut RowEncoder,
        batch: &RecordBatch,
    ) -> Result<Written> {
        let mut written = Written::default();
        let mut rows = std::mem::take(&mut self.rows);
        encoder.literals(batch, &mut rows, &mut written.dirty)?;
        let limit = STATEMENT.min(session.packet.saturating_sub(1024));
        let mut from = 0;
        while from < rows.len() {
            let start = rows[from].text.start;
            let more = rows[from..].iter().take_while(|row| row.text.end - start <= limit).count();
            let to = if self.single { from + 1 } else { from + more.max(1) };
            self.insert(session, &encoder.text, &rows, from..to, &mut written)?;
            from = to;
        }
        self.rows = rows;
        written.dirty.sort_by_key(|dirty| dirty.row);
        Ok(written)
    }

    /// Inserts rows; if the server refuses some, all others are inserted.
    fn insert(
        &mut self,
        session: &mut Session,
        text: &[u8],
        rows: &[Encoded],
        range: Range<usize>,
        written: &mut Written,
    ) -> Result<()> {
        // In order, because the mode decides whether the first or the last of equal keys wins.
        let mut waiting = vec![range];
        let mut trusted = true;
        let mut suspect = None;
        while let Some(range) = waiting.pop() {
            let refused = written.dirty.len() as u64;
            if self.enough_dirty.is_some_and(|enough| refused >= enough) {
                // The chunk is lost, so the others are not tried.
                written.skipped += range.len() as u64;
                continue;
            }
            match self.statement(session, text, &rows[range.clone()])? {
                Outcome::Done(done) => {
                    // If the row that the server named is accepted, its row numbers are wrong.
                    trusted &= suspect != Some(range.start) || range.len() > 1;
                    self.count(&done, range.len() as u64, written);
                }
                Outcome::Refused { dirty, .. } if range.len() == 1 => written.dirty.push(*dirty),
                Outcome::Refused { named, .. } => {
                    let named = named.filter(|at| trusted && (1..=range.len()).contains(at));
                    let parts = match named {
                        Some(at) => {
                            let at = range.start + at - 1;
                            suspect = Some(at);
                            [range.start..at, at..at + 1, at + 1..range.end]
                        }
                        None => {
                            let middle = range.start + range.len() / 2;
                            [range.start..middle, middle..range.end, range.end..range.end]
                        }
                    };
                    waiting.extend(parts.into_iter().rev().filter(|part| !part.is_empty()));
                }
            }
        }
        Ok(())
    }

    /// One INSERT of consecutive rows: all are inserted, or none.
    fn statement(
        &mut self,
        session: &mut Session,
        text: &[u8],
        rows: &[Encoded],
    ) -> Result<Outcome> {
        if self.transactional {
            session.run("set a savepoint", SAVEPOINT)?;
        }
        let Some((head, tail)) = self.probe.take() else {
            let (head, tail) = (self.head.clone(), self.tail.clone());
            return self.send(session, (&head, &tail), text, rows);
        };
        let probed = self.send(session, (&head, &tail), text, rows);
        self.probe = Some((head, tail));
        let new = match probed? {
            Outcome::Done(done) => done.affected,
            refused => return Ok(refused),
        };
        let head = self.head.clone();
        let outcome = self.send(session, (&head, ""), text, rows)?;
        Ok(match outcome {
            Outcome::Done(mut done) => {
                done.affected = (2 * rows.len() as u64).saturating_sub(new);
                Outcome::Done(done)
            }
            // The probe is rolled back with it.
            refused => {
                session.run("roll rows back", BACK)?;
                refused
            }
        })
    }

    fn send(
        &mut self,
        session: &mut Session,
        (head, tail): (&str, &str),
        text: &[u8],
        rows: &[Encoded],
    ) -> Result<Outcome> {
        let Some((first, last)) = rows.first().zip(rows.last()) else {
            return Ok(Outcome::Done(Done::default()));
        };
        self.packet.clear();
        self.packet.push(QUERY);
        self.packet.extend_from_slice(head.as_bytes());
        // Every row's text begins with the comma that separates it from the row before.
        self.packet.extend_from_slice(&text[first.text.start + 1..last.text.end]);
        self.packet.extend_from_slice(tail.as_bytes());
        match session.run_packet(&self.packet) {
            Ok(done) if done.warnings == 0 => Ok(Outcome::Done(done)),
            Ok(done) => match harmful_warning(session)? {
                Some(reason) if self.transactional => {
                    session.run("roll rows back", BACK)?;
                    let dirty = Box::new(dirty(first.row, None, "range", reason));
                    Ok(Outcome::Refused { dirty, named: None })
                }
                _ => Ok(Outcome::Done(done)),
            },
            Err(Failure::Server(error)) => match fault_of(&error) {
                Some(code) => {
                    let dirty = dirty(first.row, named_column(&error), code, error.to_string());
                    let dirty = Box::new(dirty);
                    Ok(Outcome::Refused { dirty, named: named_row(&error.text) })
                }
                None => Err(Failure::Server(error).into_error("insert rows", &session.cancel)),
            },
            Err(failure) => Err(failure.into_error("insert rows", &session.cancel)),
        }
    }

    /// The outcome of the rows of one statement, from the server's counts. Without the flag
    /// `CLIENT_FOUND_ROWS`, an inserted row counts 1, a changed one 2 and an unchanged one 0; a
    /// replaced one counts 1, plus 1 for each row deleted.
    fn count(&self, done: &Done, rows: u64, written: &mut Written) {
        match self.mode {
            WriteMode::Upsert if self.updates => {
                let changed = done.named("Duplicates").unwrap_or(done.affected / 2);
                let inserted = done.affected.saturating_sub(2 * changed).min(rows);
                written.inserted += inserted;
                written.updated += rows - inserted;
            }
            WriteMode::Ignore | WriteMode::Upsert => {
                let inserted = done.affected.min(rows);
                written.inserted += inserted;
                written.skipped += rows - inserted;
            }
            WriteMode::Replace => {
                let replaced = done.affected.saturating_sub(rows).min(rows);
                written.inserted += rows - replaced;
                written.updated += replaced;
            }
            WriteMode::Insert | WriteMode::Overwrite => written.inserted += done.affected,
        }
    }
}

/// The alias of the new rows in MySQL's `ON DUPLICATE KEY UPDATE`.
const ALIAS: &str = "`new rows`";

/// The clause after the rows: what a conflict does, in the server's syntax.
pub(crate) fn conflict_clause(plan: &WritePlan, server: &Server) -> String {
    let key: Vec<_> = plan.key.iter().map(String::as_str).collect();
    let columns = drafting(plan).updated_columns();
    let conflict = match plan.mode {
        WriteMode::Ignore => Conflict::Skip { key: &key },
        WriteMode::Upsert if columns.is_empty() => Conflict::Skip { key: &key },
        WriteMode::Upsert => Conflict::Update { key: &key, columns: &columns },
        _ => Conflict::Fail,
    };
    let mut sql = String::new();
    // VALUES() is deprecated where the server has the row alias, which MariaDB does not have.
    let aliased = !server.mariadb && server.version >= (8, 0, 19);
    if let Conflict::Update { columns, .. } = conflict
        && aliased
    {
        let set = |name: &&str| format!("{0} = {ALIAS}.{0}", quoted(name));
        let sets: Vec<_> = columns.iter().map(set).collect();
        return format!(" AS {ALIAS} ON DUPLICATE KEY UPDATE {}", sets.join(", "));
    }
    MysqlDialect.on_conflict(&conflict, &mut sql);
    sql
}

/// The text of a warning that a value was changed. Notes about the statement itself are ignored.
fn harmful_warning(session: &mut Session) -> Result<Option<String>> {
    const DEPRECATED: [&str; 2] = ["1287", "1681"];
    let rows = session.rows("read warnings", "SHOW WARNINGS")?;
    if rows.is_empty() {
        // with `max_error_count = 0`
        return Ok(Some("the server returned no text of its warnings".to_owned()));
    }
    let harmful = |row: Vec<Option<String>>| {
        let cell = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
        let (number, text) = (cell(1), cell(2));
        (!DEPRECATED.contains(&number.as_str())).then(|| format!("{text} ({number})"))
    };
    Ok(rows.into_iter().find_map(harmful))
}

#[cfg(test)]
mod tests {
    use transload_plugin_api::{Column, LogicalType};

    use super::*;

    fn plan(mode: WriteMode) -> WritePlan {
        let column = |name: &str| Column::new(name, LogicalType::Int64, false);
        WritePlan {
            mode,
            columns: ["a", "b", "c"].map(column).to_vec(),
            key: vec!["a".into()],
            ..WritePlan::default()
        }
    }

    fn server(mariadb: bool, version: (u32, u32, u32)) -> Server {
        Server { mariadb, version, text: String::new() }
    }

    #[test]
    fn conflicts_are_worded_for_the_server() {
        let (old, new) = (server(true, (10, 11, 0)), server(false, (8, 0, 19)));
        for (mode, on_old, on_new) in [
            (WriteMode::Insert, "", ""),
            (WriteMode::Replace, "", ""),
            (
                WriteMode::Ignore,
                " ON DUPLICATE KEY UPDATE `a` = `a`",
                " ON DUPLICATE KEY UPDATE `a` = `a`",
            ),
            (
                WriteMode::Upsert,
                " ON DUPLICATE KEY UPDATE `b` = VALUES(`b`), `c` = VALUES(`c`)",
                " AS `new rows` ON DUPLICATE KEY UPDATE `b` = `new rows`.`b`, \
                 `c` = `new rows`.`c`",
            ),
        ] {
            assert_eq!(conflict_clause(&plan(mode), &old), on_old);
            assert_eq!(conflict_clause(&plan(mode), &new), on_new);
        }
    }
}
