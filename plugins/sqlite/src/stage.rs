//! Where the rows of a run go. An overwrite stages them in a table of the target's own shape, and
//! one transaction empties the target and copies them over. The target itself stays, so its indexes, triggers, views and
//! the foreign keys of others stay right, which dropping and renaming would not keep.

use rusqlite::Connection;
use transload_plugin_api::{Error, Result, WritePlan};
use transload_tables::{Commit, Destination, Dialect as _, TableName, check_noted, check_stage};

use crate::{
    catalog::{self, Table},
    connect::run,
    dialect::{SqliteDialect, quoted},
    failure::failure,
    session::{Session, change},
};

/// The stage's extra column: which task wrote a row, so that one task's rows can be removed.
pub(crate) const TASK_COLUMN: &str = "__transload_task";

/// Where the rows of a run go.
pub(crate) enum SqliteDestination {
    /// Into the target, chunk by chunk.
    Direct,
    /// Into a stage.
    Staged(Stage),
}

/// The stage of a run.
pub(crate) struct Stage {
    pub(crate) target: TableName,
    /// The stage's name.
    pub(crate) table: TableName,
    /// The columns that are written.
    columns: Vec<String>,
}

impl Stage {
    pub(crate) fn new(target: &TableName, plan: &WritePlan) -> Self {
        let name = SqliteDialect.derived_name(&target.table, &format!("transload_{}", plan.run));
        let table = TableName { schema: target.schema.clone(), table: name };
        let columns = plan.columns.iter().map(|column| column.name.clone()).collect();
        Self { target: target.clone(), table, columns }
    }

    /// The steps between `BEGIN` and `COMMIT` that publish the stage.
    pub(crate) fn publication(&self) -> [String; 3] {
        let (into, from) = (quoted(&self.target.table), quoted(&self.table.table));
        let columns: Vec<_> = self.columns.iter().map(String::as_str).collect();
        let list = SqliteDialect.quoted_list(&columns);
        [
            format!("DELETE FROM main.{into}"),
            format!("INSERT INTO main.{into} ({list}) SELECT {list} FROM main.{from}"),
            format!("DROP TABLE main.{from}"),
        ]
    }

    /// How many rows the stage holds, those that `which` (a WHERE clause, or nothing) names.
    fn count(&self, connection: &Connection, which: &str) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM main.{}{which}", quoted(&self.table.table));
        let count = connection.query_row(&sql, [], |row| row.get::<_, i64>(0));
        let count = count.map_err(|error| failure("count the staged rows", &error))?;
        Ok(count.unsigned_abs())
    }

    /// Makes the stage, unless this run has made it before.
    fn make(&self, connection: &Connection) -> Result<()> {
        if catalog::find_table(connection, &self.table)?.is_some() {
            return Ok(());
        }
        let target = catalog::table(connection, &self.target)?;
        let statements = stage_statements(connection, &target, &self.table)?.join(";\n");
        let sql = format!("BEGIN IMMEDIATE;\n{statements};\nCOMMIT");
        let made = run(connection, "make the stage table", &sql);
        if made.is_err() && !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        made
    }

    /// Publishes the stage in one transaction. Foreign keys are off meanwhile, so that emptying the
    /// table cascades to no other table, and are checked before the commit instead.
    fn publish(&self, connection: &Connection, rows: u64, note: Option<&str>) -> Result<()> {
        let batch = |sql: &str| run(connection, "publish the stage table", sql);
        batch("PRAGMA foreign_keys = OFF")?;
        let steps = || -> Result<()> {
            batch("BEGIN IMMEDIATE")?;
            let [empty, fill, drop] = self.publication();
            batch(&empty)?;
            let moved = connection.execute(&fill, []);
            let moved = moved.map_err(|error| failure("publish the stage table", &error))?;
            if moved as u64 != rows {
                // A trigger of the target may be the reason.
                check_stage(&self.table.table, rows, self.count(connection, "")?)?;
                return Err(left_out(rows, moved));
            }
            batch(&drop)?;
            check_references(connection, &self.target)?;
            if let Some(note) = note {
                check_noted(change(connection, "publish the stage table", note)?)?;
            }
            batch("COMMIT")
        };
        let done = steps();
        if !connection.is_autocommit() {
            batch("ROLLBACK")?;
        }
        batch("PRAGMA foreign_keys = ON")?;
        done
    }
}

/// Triggers of the target have left rows out, or columns of it have changed meanwhile.
fn left_out(rows: u64, moved: usize) -> Error {
    let message = format!("triggers of the target let {moved} of {rows} rows in");
    Error::data(message).hint(
        "the target is as it was; a trigger that leaves rows out (RAISE(IGNORE)) and `overwrite` \
         do not go together: use `insert`, which counts them as skipped",
    )
}

impl Destination<Session> for SqliteDestination {
    fn stage(&self) -> Option<&TableName> {
        match self {
            Self::Direct => None,
            Self::Staged(stage) => Some(&stage.table),
        }
    }

    fn make(&self, session: &mut Session) -> Result<()> {
        let Self::Staged(stage) = self else { return Ok(()) };
        session.in_turn(|connection| stage.make(connection))
    }

    fn publish(&self, session: &mut Session, rows: u64, note: Option<&str>) -> Result<Commit> {
        if let Self::Staged(stage) = self {
            session.in_turn(|connection| stage.publish(connection, rows, note))?;
        }
        Ok(Commit::Committed)
    }

    fn remove(&self, session: &mut Session) -> Result<()> {
        let Self::Staged(stage) = self else { return Ok(()) };
        let sql = format!("DROP TABLE IF EXISTS main.{}", quoted(&stage.table.table));
        session.in_turn(|connection| run(connection, "remove the stage table", &sql))
    }

    fn count_task(&self, session: &mut Session, task: u32) -> Result<u64> {
        let Self::Staged(stage) = self else { return Ok(0) };
        let which = format!(" WHERE {} = {task}", quoted(TASK_COLUMN));
        session.with(|connection| stage.count(connection, &which))
    }

    fn remove_task(&self, session: &mut Session, task: u32) -> Result<()> {
        let Self::Staged(stage) = self else { return Ok(()) };
        let (name, mark) = (quoted(&stage.table.table), quoted(TASK_COLUMN));
        let sql = format!("DELETE FROM main.{name} WHERE {mark} = {task}");
        session.in_turn(|connection| run(connection, "remove a task's rows", &sql))
    }
}

/// What makes the stage: the target's own statement and its unique indexes under other names, so
/// that every constraint that can refuse a row refuses it while its task writes.
pub(crate) fn stage_statements(
    connection: &Connection,
    target: &Table,
    stage: &TableName,
) -> Result<Vec<String>> {
    let unclear = || {
        let message = format!("the statement of table `{}` is not understood", target.name.table);
        Error::unsupported(message).hint("write_mode `overwrite` needs it to make a stage")
    };
    let body = after_name(&target.sql, "CREATE TABLE").ok_or_else(unclear)?;
    let name = quoted(&stage.table);
    let mut statements = vec![format!("CREATE TABLE main.{name}{body}")];
    for (number, sql) in catalog::unique_indexes(connection, &target.name)?.iter().enumerate() {
        let on = after_name(sql, "CREATE UNIQUE INDEX").ok_or_else(unclear)?;
        let columns = after_name(on, "ON").ok_or_else(unclear)?;
        let index = quoted(&format!("{}_u{number}", stage.table));
        statements.push(format!("CREATE UNIQUE INDEX main.{index} ON {name}{columns}"));
    }
    let mark = quoted(TASK_COLUMN);
    statements.push(format!("ALTER TABLE main.{name} ADD COLUMN {mark} INTEGER"));
    Ok(statements)
}

/// What stands after `head` and the name that follows it. SQLite keeps statements with one blank
/// between the words of the head and the name as it was written.
fn after_name<'a>(sql: &'a str, head: &str) -> Option<&'a str> {
    let rest = sql.trim_start();
    let (found, rest) = rest.split_at_checked(head.len())?;
    let rest = rest.trim_start();
    let close = match rest.chars().next()? {
        quote @ ('"' | '`' | '\'') => quote,
        '[' => return rest.split_once(']').map(|(_, after)| after),
        _ => {
            let end = rest.find(|c: char| c.is_whitespace() || c == '(')?;
            return found.eq_ignore_ascii_case(head).then_some(&rest[end..]);
        }
    };
    let mut at = 1;
    loop {
        at += rest[at..].find(close)? + close.len_utf8();
        if !rest[at..].starts_with(close) {
            return found.eq_ignore_ascii_case(head).then_some(&rest[at..]);
        }
        at += close.len_utf8();
    }
}

/// Drops a table that holds no row.
pub(crate) fn drop_empty(connection: &Connection, name: &TableName) -> Result<bool> {
    let (doing, table) = ("drop the created table", quoted(&name.table));
    run(connection, doing, "BEGIN IMMEDIATE")?;
    let steps = || -> Result<bool> {
        let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM main.{table})");
        let is_empty = connection.query_row(&sql, [], |row| row.get::<_, bool>(0));
        let is_empty = is_empty.map_err(|error| failure(doing, &error))?;
        if is_empty {
            run(connection, doing, &format!("DROP TABLE main.{table}"))?;
        }
        run(connection, doing, "COMMIT")?;
        Ok(is_empty)
    };
    let done = steps();
    if !connection.is_autocommit() {
        run(connection, doing, "ROLLBACK")?;
    }
    done
}

/// A table that refers to itself would have its staged rows looked up in its old content, so its
/// references are checked when the stage is published, not while it is filled.
pub(crate) fn set_references(connection: &Connection, target: &TableName) -> Result<()> {
    let referring = catalog::referring_tables(connection, target)?;
    if referring.iter().any(|table| table.eq_ignore_ascii_case(&target.table)) {
        run(connection, "put foreign keys off", "PRAGMA foreign_keys = OFF")?;
    }
    Ok(())
}

/// Whether the target's foreign keys, and those of others to it, hold.
fn check_references(connection: &Connection, target: &TableName) -> Result<()> {
    let mut tables = catalog::referring_tables(connection, target)?;
    tables.push(target.table.clone());
    let sql = "SELECT \"table\", rowid, \"parent\" FROM pragma_foreign_key_check(?1) \
               WHERE \"table\" = ?2 COLLATE NOCASE OR \"parent\" = ?2 COLLATE NOCASE LIMIT 1";
    for table in tables {
        let mut statement =
            connection.prepare(sql).map_err(|error| failure("check foreign keys", &error))?;
        let mut rows = statement
            .query([&table, &target.table])
            .map_err(|error| failure("check foreign keys", &error))?;
        if let Some(row) = rows.next().map_err(|error| failure("check foreign keys", &error))? {
            let (child, row_id, parent) = (|| -> rusqlite::Result<_> {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, Option<i64>>(1)?,
                    row.get::<_, String>(2)?,
                ))
            })()
            .map_err(|error| failure("check foreign keys", &error))?;
            let place = row_id.map_or(child.clone(), |row_id| format!("{child}, rowid {row_id}"));
            let message = format!("`{child}` would refer to a row of `{parent}` that is not there");
            return Err(Error::data(message).at(place).hint(
                "the target is as it was; overwrite the tables in the order of their references",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t42_names_in_kept_statements_are_skipped() {
        for (sql, rest) in [
            ("CREATE TABLE t(a)", "(a)"),
            ("CREATE TABLE t (a)", " (a)"),
            ("CREATE TABLE \"a (b)\"\"c\"(a)", "(a)"),
            ("CREATE TABLE [a(b] (a)", " (a)"),
            ("CREATE TABLE `x``y`(a)", "(a)"),
            ("create table '表'(a)", "(a)"),
        ] {
            assert_eq!(after_name(sql, "CREATE TABLE"), Some(rest), "{sql}");
        }
        let index = "CREATE UNIQUE INDEX \"i\" ON t (a) WHERE a > 0";
        let on = after_name(index, "CREATE UNIQUE INDEX").unwrap();
        assert_eq!(after_name(on, "ON"), Some(" (a) WHERE a > 0"));
        assert_eq!(after_name("CREATE VIEW v AS", "CREATE TABLE"), None);
        assert_eq!(after_name("CREATE TABLE \"t", "CREATE TABLE"), None);
    }

    #[test]
    fn a_stage_has_the_targets_constraints() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE IF NOT EXISTS \"a.t\"(a INT NOT NULL CHECK (a > 0), b UNIQUE) STRICT;",
            )
            .unwrap_err();
        connection
            .execute_batch(
                "CREATE TABLE IF NOT EXISTS main.\"a.t\"(a INT NOT NULL CHECK (a > 0), b UNIQUE);
                 CREATE UNIQUE INDEX IF NOT EXISTS main.i ON \"a.t\"(a, b);",
            )
            .unwrap();
        let target = catalog::table(&connection, &TableName::bare("a.t")).unwrap();
        let plan = WritePlan { run: "r-1".to_owned(), ..WritePlan::default() };
        let stage = Stage::new(&target.name, &plan);
        assert_eq!(stage.table.table, "a.t__transload_r-1");
        stage.make(&connection).unwrap();
        stage.make(&connection).unwrap();
        let made = catalog::table(&connection, &stage.table).unwrap();
        assert_eq!(made.keys.len(), target.keys.len());
        assert!(
            connection
                .execute_batch("INSERT INTO \"a.t__transload_r-1\" VALUES (0, 1, 0)")
                .is_err()
        );
        let mut session = Session::looking(connection);
        let destination = SqliteDestination::Staged(stage);
        destination.remove(&mut session).unwrap();
        destination.remove(&mut session).unwrap();
        let name = destination.stage().unwrap();
        assert!(session.with(|it| catalog::find_table(it, name)).unwrap().is_none());
    }
}
