//! The statements that would repair a target: rows that it lacks are inserted, others updated or deleted.
//! They are written to a file, and never run.

use std::{fmt::Write as _, path::Path};

use transload_plugin_api::{Column, Dialect, LogicalType, NativeEncoding};
use transload_values::NativeText;

use super::{
    difference::{Difference, Kind, Shown},
    rows::Shape,
};
use crate::{Error, Exit, Result, journal, plan::Plan};

/// The target of a repair.
pub(super) struct Repair<'a> {
    pub(super) path: &'a Path,
    pub(super) dialect: Dialect,
    pub(super) plan: &'a Plan,
    pub(super) shape: &'a Shape,
    /// Columns of the job that were not compared.
    pub(super) left_out: bool,
}

impl Repair<'_> {
    /// Writes the file. Returns what it holds, in words.
    ///
    /// # Errors
    /// If a value cannot be written as SQL, or the file cannot be written.
    pub(super) fn write(&self, differences: &[Difference]) -> Result<String> {
        if self.left_out && differences.iter().any(|it| it.kind == Kind::Missing) {
            return Err(
                self.refused("rows are missing, and not all of their columns were compared")
            );
        }
        let text = self.text(differences)?;
        journal::write_private(self.path, text.as_bytes()).map_err(|error| {
            Error::new(Exit::Failed, format!("cannot write the repair: {error}"))
                .at(self.path.display().to_string())
        })?;
        let path = self.path.display();
        Ok(format!("{path} holds the statements that would repair the target; they were not run"))
    }

    fn refused(&self, why: &str) -> Error {
        Error::new(Exit::Usage, format!("no repair is written: {why}"))
            .hint("run the job again instead, with `write_mode = \"upsert\"` or \"overwrite\"")
    }

    fn text(&self, differences: &[Difference]) -> Result<String> {
        let Plan { job, target, .. } = self.plan;
        let mut text = format!(
            "-- Makes {} what the source of job {} was when they were compared.\n\
             -- Read it before you run it: rows that have changed since are changed back.\n",
            comment(&target.name),
            comment(job)
        );
        text.push_str(match self.dialect {
            Dialect::Postgres => "SET client_encoding = 'UTF8';\nBEGIN;\n",
            Dialect::Mysql => "SET NAMES utf8mb4;\nSET time_zone = '+00:00';\nBEGIN;\n",
            _ => "BEGIN;\n",
        });
        // What is deleted first makes room for what is inserted with the same key in another case.
        for kind in [Kind::Extra, Kind::Different, Kind::Missing] {
            for difference in differences.iter().filter(|it| it.kind == kind) {
                self.statement(difference, &mut text)?;
            }
        }
        text.push_str("COMMIT;\n");
        Ok(text)
    }

    fn statement(&self, difference: &Difference, sql: &mut String) -> Result<()> {
        match (&difference.source, &difference.target) {
            (None, Some(theirs)) => self.delete(theirs, sql),
            (Some(ours), None) => self.insert(ours, sql),
            (Some(ours), Some(theirs)) if self.is_unique() => {
                let set = difference.columns.iter().map(|index| {
                    let value = self.literal(*index, &ours[*index])?;
                    Ok(format!("{} = {value}", self.name(*index)))
                });
                let set = set.collect::<Result<Vec<_>>>()?.join(", ");
                let row = self.condition(theirs)?;
                let _ = writeln!(sql, "UPDATE {} SET {set} WHERE {row};", self.table());
                Ok(())
            }
            (Some(ours), Some(theirs)) => {
                self.delete(theirs, sql)?;
                self.insert(ours, sql)
            }
            (None, None) => Ok(()),
        }
    }

    fn insert(&self, row: &[Shown], sql: &mut String) -> Result<()> {
        let names: Vec<_> = (0..row.len()).map(|index| self.name(index)).collect();
        let values = row.iter().enumerate().map(|(index, value)| self.literal(index, value));
        let values = values.collect::<Result<Vec<_>>>()?.join(", ");
        let _ =
            writeln!(sql, "INSERT INTO {} ({}) VALUES ({values});", self.table(), names.join(", "));
        Ok(())
    }

    /// Deletes one row: by its key if that is unique, else the first of those with its values.
    fn delete(&self, row: &[Shown], sql: &mut String) -> Result<()> {
        let (table, condition) = (self.table(), self.condition(row)?);
        let _ = match self.dialect {
            _ if self.is_unique() => writeln!(sql, "DELETE FROM {table} WHERE {condition};"),
            Dialect::Mysql => writeln!(sql, "DELETE FROM {table} WHERE {condition} LIMIT 1;"),
            dialect => {
                let place = if dialect == Dialect::Postgres { "ctid" } else { "rowid" };
                writeln!(
                    sql,
                    "DELETE FROM {table} WHERE {place} = \
                     (SELECT {place} FROM {table} WHERE {condition} LIMIT 1);"
                )
            }
        };
        Ok(())
    }

    /// Whether the target lets a key stand once only.
    fn is_unique(&self) -> bool {
        let has = |name: &String| {
            self.shape.key.iter().any(|index| self.shape.columns[*index].name == *name)
        };
        let mut keys = self.plan.target.keys.iter().filter(|key| key.primary && !key.unusable);
        self.shape.is_keyed() && keys.any(|key| key.columns.iter().all(has))
    }

    /// The condition that finds a row of the target.
    fn condition(&self, row: &[Shown]) -> Result<String> {
        let all: Vec<_> = (0..row.len()).collect();
        let columns = if self.is_unique() { &self.shape.key } else { &all };
        let part = |index: &usize| {
            Ok(match self.literal(*index, &row[*index])?.as_str() {
                "NULL" => format!("{} IS NULL", self.name(*index)),
                value => format!("{} = {value}", self.name(*index)),
            })
        };
        Ok(columns.iter().map(part).collect::<Result<Vec<_>>>()?.join(" AND "))
    }

    fn name(&self, index: usize) -> String {
        self.quoted(&self.shape.columns[index].name)
    }

    fn quoted(&self, name: &str) -> String {
        let quote = if self.dialect == Dialect::Mysql { '`' } else { '"' };
        let doubled = format!("{quote}{quote}");
        format!("{quote}{}{quote}", name.replace(quote, &doubled))
    }

    fn table(&self) -> String {
        let parts = parts(&self.plan.target.name);
        parts.iter().map(|part| self.quoted(part)).collect::<Vec<_>>().join(".")
    }

    fn literal(&self, index: usize, value: &Shown) -> Result<String> {
        let column = &self.shape.columns[index];
        let Some(text) = value else { return Ok("NULL".to_owned()) };
        literal(self.dialect, column, text).ok_or_else(|| {
            let Column { name, logical, .. } = column;
            self.refused(&format!("column `{name}` is {logical}, whose values are no literals"))
        })
    }
}

/// A name in a comment.
fn comment(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The parts of a table's name as the plan prints it: bare, or in double quotes.
fn parts(name: &str) -> Vec<String> {
    let (mut parts, mut part, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                part.push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(std::mem::take(&mut part)),
            letter => part.push(letter),
        }
    }
    parts.push(part);
    parts
}

/// A value as the dialect writes it, from its text; `None` if it is no value of its type, or the type
/// has no literals.
fn literal(dialect: Dialect, column: &Column, text: &str) -> Option<String> {
    use LogicalType as L;
    let is_sqlite = dialect == Dialect::Sqlite;
    let is_mysql = dialect == Dialect::Mysql;
    Some(match &column.logical {
        L::Boolean => match (text, dialect) {
            ("true", Dialect::Postgres) => "TRUE".to_owned(),
            ("false", Dialect::Postgres) => "FALSE".to_owned(),
            ("true", _) => "1".to_owned(),
            ("false", _) => "0".to_owned(),
            _ => return None,
        },
        // SQLite would make a double of many digits; the column's affinity does not.
        L::Decimal { .. } | L::Numeric if is_sqlite || !is_number(text) => quoted(dialect, text),
        L::Float32 | L::Float64 if is_sqlite && text == "Infinity" => "9e999".to_owned(),
        L::Float32 | L::Float64 if is_sqlite && text == "-Infinity" => "-9e999".to_owned(),
        L::Float32 | L::Float64 if !is_number(text) => quoted(dialect, text),
        L::Text { .. } | L::Json => quoted(dialect, text),
        L::Binary if text.bytes().all(|byte| byte.is_ascii_hexdigit()) => match dialect {
            Dialect::Postgres => format!("decode('{text}', 'hex')"),
            _ => format!("x'{text}'"),
        },
        L::Uuid if is_mysql && !column.native.eq_ignore_ascii_case("uuid") => {
            format!("x'{}'", text.replace('-', ""))
        }
        L::Uuid | L::Date | L::Duration => quoted(dialect, text),
        L::Time { .. } | L::Timestamp { .. } | L::TimestampTz { .. } => {
            let text = match dialect {
                Dialect::Mysql => text.replace('T', " ").replace('Z', ""),
                Dialect::Sqlite => padded(&text.replace('T', " ")),
                _ => text.to_owned(),
            };
            quoted(dialect, &text)
        }
        L::Interval if dialect == Dialect::Postgres => {
            let (whole, nanoseconds) = text.strip_suffix(" ns")?.rsplit_once(' ')?;
            let microseconds = nanoseconds.parse::<i64>().ok()? / 1_000;
            format!("'{whole} {microseconds} microseconds'::interval")
        }
        L::Native(form) if form.encoding == NativeEncoding::Text => quoted(dialect, text),
        L::Native(form) if NativeText::of(form).is_some() => quoted(dialect, text),
        logical if logical.family().contains("int") || logical.family() == "decimal" => {
            is_number(text).then(|| text.to_owned())?
        }
        L::Numeric | L::Float32 | L::Float64 => text.to_owned(),
        _ => return None,
    })
}

fn is_number(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
}

/// A fraction with six digits, or nine, as SQLite's texts have it.
fn padded(text: &str) -> String {
    let (body, zone) = text.strip_suffix('Z').map_or((text, ""), |body| (body, "Z"));
    match body.split_once('.') {
        Some((whole, fraction)) => {
            let digits = if fraction.len() > 6 { 9 } else { 6 };
            format!("{whole}.{fraction:0<digits$}{zone}")
        }
        None => text.to_owned(),
    }
}

fn quoted(dialect: Dialect, text: &str) -> String {
    let hex = || {
        text.bytes().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    };
    let doubled = text.replace('\'', "''");
    match dialect {
        Dialect::Postgres if text.contains('\\') => {
            format!("E'{}'", doubled.replace('\\', "\\\\"))
        }
        // What a backslash means depends on the session.
        Dialect::Mysql if text.contains(['\\', '\0']) => {
            format!("CONVERT(x'{}' USING utf8mb4)", hex())
        }
        Dialect::Sqlite if text.contains('\0') => format!("CAST(x'{}' AS TEXT)", hex()),
        _ => format!("'{doubled}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dialect: Dialect, logical: &str, text: &str) -> Option<String> {
        literal(dialect, &Column::new("c", logical.parse().unwrap(), true), text)
    }

    #[test]
    fn values_stay_values() {
        use Dialect::{Mysql, Postgres, Sqlite};
        for (dialect, logical, text, expected) in [
            (Postgres, "text", "it's", "'it''s'"),
            (Postgres, "text", "a\\'b", "E'a\\\\''b'"),
            (Mysql, "text", "a\\'; DROP", "CONVERT(x'615c273b2044524f50' USING utf8mb4)"),
            (Sqlite, "text", "a\0", "CAST(x'6100' AS TEXT)"),
            (Postgres, "boolean", "true", "TRUE"),
            (Mysql, "boolean", "false", "0"),
            (Postgres, "int64", "-7", "-7"),
            (Postgres, "decimal(9,2)", "1.50", "1.50"),
            (Sqlite, "decimal(9,2)", "1.50", "'1.50'"),
            (Postgres, "numeric", "NaN", "'NaN'"),
            (Sqlite, "float64", "-Infinity", "-9e999"),
            (Mysql, "float64", "1e20", "1e20"),
            (Postgres, "binary", "00ff", "decode('00ff', 'hex')"),
            (Mysql, "binary", "00ff", "x'00ff'"),
            (
                Mysql,
                "uuid",
                "00000000-0000-0000-0000-0000000000ff",
                "x'000000000000000000000000000000ff'",
            ),
            (Mysql, "timestamptz", "2024-01-01T10:00:00.5Z", "'2024-01-01 10:00:00.5'"),
            (Sqlite, "timestamptz", "2024-01-01T10:00:00.5Z", "'2024-01-01 10:00:00.500000Z'"),
            (
                Postgres,
                "interval",
                "1 months 2 days 3000 ns",
                "'1 months 2 days 3 microseconds'::interval",
            ),
        ] {
            assert_eq!(
                written(dialect, logical, text).as_deref(),
                Some(expected),
                "{logical} {text}"
            );
        }
        for (logical, text) in
            [("int64", "1; DROP"), ("boolean", "maybe"), ("binary", "zz"), ("list<int8>", "[]")]
        {
            assert_eq!(written(Postgres, logical, text), None, "{logical} {text}");
        }
        assert_eq!(parts(r#"s."a.""b""#), ["s", "a.\"b"]);
    }
}
