//! What a plan would do to the target, and what of it SQLite cannot do. Changes nothing.

use std::path::Path;

use rusqlite::{Connection, MAIN_DB};
use rustix::fs::{Access, access};
use transload_plugin_api::{
    Column, Error, Key, LoadMethod, LogicalType, Result, Statement, WriteMode, WritePlan,
};
use transload_tables::{
    Draft, Drafting, TableName, Wording, destructive, plain, replaced_reference,
};

use crate::{
    catalog::{Table, TableColumn, TableKind},
    dialect::SqliteDialect,
    failure::failure,
    options::Synchronous,
    session::Session,
    stage::{Stage, stage_statements},
    types::declared_for,
};

pub(crate) const WORDING: Wording<'static> = Wording {
    overwrite: "the rows are staged, and one transaction replaces the table's content",
    null_key: "NULL equals nothing, so such rows are always inserted",
};

/// The plan by SQLite's rules.
pub(crate) fn drafting(plan: &WritePlan) -> Drafting<'_> {
    Drafting { dialect: &SqliteDialect, plan }
}

/// Drafts the plan; `target` is `None` where there is no table yet.
pub(crate) fn draft(
    session: &Session,
    drafting: Drafting<'_>,
    name: &TableName,
    target: Option<&Table>,
    synchronous: Synchronous,
) -> Result<Draft> {
    if drafting.plan.load == LoadMethod::Copy {
        return Err(Error::unsupported("sqlite has no `load = \"copy\"`")
            .hint("leave `load` out, or write \"auto\" or \"insert\""));
    }
    let mut draft = match target {
        Some(target) => existing_table(session, drafting, target)?,
        None => drafting.new_table(name, |column| declared_for(&column.logical))?,
    };
    draft.problems.extend(session.with(not_writable)?);
    if synchronous == Synchronous::Off {
        let warning = "`synchronous = \"off\"`: a power cut can damage the database";
        draft.warnings.push(warning.to_owned());
    }
    Ok(draft)
}

/// The problem of a file that this user may only read, or in whose folder SQLite cannot make its
/// journal: SQLite opens the file, and refuses the first change.
fn not_writable(connection: &Connection) -> Result<Option<Error>> {
    let is_read_only = connection.is_readonly(MAIN_DB);
    if !is_read_only.map_err(|error| failure("look at the file", &error))? {
        return Ok(locked_folder(connection.path().unwrap_or_default()));
    }
    let file = connection.path().unwrap_or_default();
    let problem = Error::denied("this user may only read the file, or its disk is read-only");
    Ok(Some(problem.at(file.to_owned()).of_key("path").hint(format!("chmod u+w '{file}'"))))
}

/// The problem of a file in a folder that this user may not change. A database in memory has no file.
fn locked_folder(file: &str) -> Option<Error> {
    let folder = Path::new(file).parent().filter(|folder| !folder.as_os_str().is_empty())?;
    access(folder, Access::WRITE_OK | Access::EXEC_OK).err()?;
    let folder = folder.display();
    let message = format!("this user may not write `{folder}`, and SQLite keeps its journal there");
    Some(
        Error::denied(message)
            .at(file.to_owned())
            .of_key("path")
            .hint(format!("chmod u+w '{folder}'")),
    )
}

fn existing_table(session: &Session, drafting: Drafting<'_>, target: &Table) -> Result<Draft> {
    if target.kind != TableKind::Table {
        let message = format!("`{}` is not an ordinary table", target.name.table);
        return Err(Error::unsupported(message).hint("name a table, not a view"));
    }
    let keys: Vec<Key> = target.keys.iter().map(|key| key.key.clone()).collect();
    let accepted = |own: &TableColumn, column: &Column| accepted(own, column, drafting);
    let mut draft = drafting.existing_table(&target.name, &target.columns, &keys, accepted)?;
    draft.warnings = warnings(target, drafting.plan);
    if drafting.plan.mode == WriteMode::Overwrite {
        draft.steps =
            session.with(|connection| overwrite_steps(connection, target, drafting.plan))?;
    }
    Ok(draft)
}

/// The column as the target takes it: its name and type there.
fn accepted(own: &TableColumn, column: &Column, drafting: Drafting<'_>) -> Result<Column> {
    let mut taken = own.column.clone();
    taken.inferred = false;
    if !own.typed {
        taken.logical = column.logical.clone();
    }
    match declared_for(&taken.logical) {
        Some(_) => Ok(taken),
        None => Err(drafting.unsupported(column)),
    }
}

fn warnings(target: &Table, plan: &WritePlan) -> Vec<String> {
    let mut warnings = Vec::new();
    let usable = target.keys.iter().filter(|key| !key.key.unusable).count();
    let others = target.keys.len() > 1;
    match plan.mode {
        WriteMode::Upsert | WriteMode::Ignore if others => warnings.push(format!(
            "the target has {} unique keys: a row that conflicts on another one than ({}) is dirty",
            target.keys.len(),
            plan.key.join(", ")
        )),
        WriteMode::Replace if usable > 1 => warnings
            .push(format!("the target has {usable} unique keys: one row can replace several")),
        _ => {}
    }
    if !target.triggers.is_empty() {
        let how = match plan.mode {
            WriteMode::Overwrite => " for every row deleted and inserted when the job commits",
            _ => "; what they change is not counted",
        };
        warnings.push(format!("triggers of the target run{how}: {}", target.triggers.join(", ")));
    }
    if !target.dropping.is_empty() {
        let how = match plan.mode {
            WriteMode::Overwrite => "then the run fails and the target stays as it was",
            _ => "they count as skipped",
        };
        let names = target.dropping.join(", ");
        warnings.push(format!("triggers of the target can leave rows out, {how}: {names}"));
    }
    warnings.extend(folded_keys(target));
    if matches!(plan.mode, WriteMode::Replace) {
        warnings.extend(target.referring.iter().map(|table| replaced_reference(table)));
    }
    for column in &plan.columns {
        if let Some(found) = target.column(&column.name) {
            warnings.extend(decimal_warning(found, &column.logical));
        }
    }
    warnings
}

/// The columns of unique keys in which different texts are equal.
fn folded_keys(target: &Table) -> Option<String> {
    let mut words: Vec<String> = Vec::new();
    for key in &target.keys {
        for (name, collation) in key.key.columns.iter().zip(&key.collations) {
            let word = format!("`{name}` ({collation})");
            if !collation.eq_ignore_ascii_case("BINARY") && !words.contains(&word) {
                words.push(word);
            }
        }
    }
    (!words.is_empty()).then(|| {
        format!(
            "keys of the target treat texts as equal that differ by case or by trailing blanks: \
             {}; the collation BINARY tells them apart",
            words.join(", ")
        )
    })
}

fn decimal_warning(target: &TableColumn, source: &LogicalType) -> Option<String> {
    let long = |logical: &LogicalType| match logical {
        LogicalType::Decimal { precision, .. } => *precision > 15,
        LogicalType::Numeric => true,
        _ => false,
    };
    let taken = if target.typed { &target.column.logical } else { source };
    (target.affinity.makes_numbers() && long(taken)).then(|| {
        format!(
            "column `{}` is declared `{}`, which SQLite keeps as a double: values of more than \
             15 significant digits are dirty rows",
            target.column.name, target.column.native
        )
    })
}

fn overwrite_steps(
    connection: &Connection,
    target: &Table,
    plan: &WritePlan,
) -> Result<Vec<Statement>> {
    let stage = Stage::new(&target.name, plan);
    let made = stage_statements(connection, target, &stage.table)?;
    let mut steps: Vec<_> = made.into_iter().map(plain).collect();
    let [delete, insert, drop] = stage.publication();
    steps.push(plain("BEGIN IMMEDIATE".to_owned()));
    steps.push(destructive(delete));
    steps.extend([plain(insert), plain(drop), plain("COMMIT".to_owned())]);
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, thread};

    use rusqlite::OpenFlags;
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

    use super::*;

    #[test]
    fn a_file_that_can_only_be_read_is_a_problem_of_the_plan() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let writable = Connection::open(&path).unwrap();
        writable.execute_batch("CREATE TABLE t(a)").unwrap();
        assert_eq!(not_writable(&writable).unwrap(), None);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let problem =
            not_writable(&Connection::open_with_flags(&path, flags).unwrap()).unwrap().unwrap();
        assert_eq!(problem.key.as_deref(), Some("path"));
        let hint = problem.hint.unwrap();
        assert!(hint.starts_with("chmod u+w '/") && hint.ends_with("t.db'"), "{hint}");
    }

    #[test]
    fn a_folder_that_cannot_take_the_journal_is_a_problem_of_the_plan() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("t.db")).unwrap();
        connection.execute_batch("CREATE TABLE t(a)").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
        // A thread without the rights of root, which may write everywhere.
        let looked = thread::spawn(move || {
            let none = CapabilitySet::empty();
            let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
            set_capabilities(None, none).unwrap();
            let problem = not_writable(&connection).unwrap();
            (problem, connection.execute_batch("INSERT INTO t VALUES (1)").is_err())
        });
        let (problem, fails) = looked.join().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let problem = problem.unwrap();
        assert!(fails, "the insert works in spite of {problem}");
        assert_eq!(problem.hint.unwrap(), format!("chmod u+w '{}'", folder.path().display()));
    }
}
