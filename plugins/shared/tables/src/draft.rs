//! A plan compared with its target before a row moves: names, keys, columns, `CREATE TABLE`, and
//! the parts of a draft that are the same for all databases. What only one database knows (types,
//! triggers, engines) is its `draft` verb's part.

use transload_plugin_api::{
    Column, Error, Guarantee, KeptWatermark, Key, Result, Statement, WriteDraft, WriteMode,
    WritePlan, code,
};

use crate::{ColumnDefinition, Dialect, TableName, create_table};

/// A plan and the rules of the database that it is drafted for.
#[derive(Clone, Copy)]
pub struct Drafting<'a> {
    /// The database's rules.
    pub dialect: &'a dyn Dialect,
    /// The plan.
    pub plan: &'a WritePlan,
}

/// How drafts word what only this database does.
#[derive(Clone, Copy, Debug)]
pub struct Wording<'a> {
    /// Why an overwrite is all or nothing.
    pub overwrite: &'a str,
    /// What happens to rows whose key holds NULL.
    pub null_key: &'a str,
}

/// What one database makes of a plan, before the parts that all databases share are added.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The plan's columns, each as the target takes it.
    pub columns: Vec<Column>,
    /// The statement that creates the target, if the plan does.
    pub create: Option<String>,
    /// What an overwrite does beside the rows, and what follows the last row.
    pub steps: Vec<Statement>,
    /// What the user should know before running it.
    pub warnings: Vec<String>,
    /// What the user may want to know, such as what could not be tried.
    pub notes: Vec<String>,
    /// What makes the plan impossible, beside what is returned as an error: all of it is reported.
    pub problems: Vec<Error>,
    /// Why the guarantee is `at-least-once` without tokens, whatever the mode promises.
    pub weaker: Option<String>,
    /// Why tokens would prove nothing here, if the plan asks for them.
    pub no_tokens: Option<String>,
    /// The table that keeps the tokens of the run's tasks, if the plan asks for them.
    pub(crate) token_table: Option<String>,
    /// What creates the token tables that are missing.
    pub(crate) token_tables: Vec<String>,
    /// The job's watermark, if the plan keeps it beside the tokens.
    pub(crate) watermark: Option<KeptWatermark>,
}

impl<'a> Drafting<'a> {
    /// The columns, the key and the updated columns name each other, and fit the database.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] with the name that does not.
    pub(crate) fn check_names(&self) -> Result<()> {
        let columns = &self.plan.columns;
        if columns.is_empty() {
            return Err(schema("the plan has no columns to write".to_owned()));
        }
        for (at, column) in columns.iter().enumerate() {
            let same = |other: &Column| self.dialect.is_same_column(&other.name, &column.name);
            if columns[..at].iter().any(same) {
                return Err(self.named_twice(&column.name));
            }
            if let Some(limit) = self.dialect.passed_limit(&column.name) {
                let message = format!("the column name `{}` is longer than {limit}", column.name);
                return Err(schema(message).hint("map it to a shorter name in [map]"));
            }
        }
        let mut named = self.plan.key.iter().chain(&self.plan.update_columns);
        match named.find(|name| !self.is_written(name)) {
            None => Ok(()),
            Some(name) => {
                let message = format!("column `{name}` is not among the columns that are written");
                Err(schema(message).hint("correct `key`, `update_columns` or `columns`"))
            }
        }
    }

    fn named_twice(&self, name: &str) -> Error {
        let error = schema(format!("column `{name}` occurs twice in the plan"));
        if !self.dialect.folds_case() {
            return error;
        }
        error.hint(format!("{}'s column names differ by more than case", self.dialect.database()))
    }

    /// The target's column of that name, which can be written.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] if it is not there or generated.
    fn writable<'c, C: AsRef<Column>>(
        &self,
        target: &str,
        columns: &'c [C],
        name: &str,
    ) -> Result<&'c C> {
        let same = |column: &&C| self.dialect.is_same_column(&column.as_ref().name, name);
        let Some(found) = columns.iter().find(same) else {
            return Err(schema(format!("there is no column `{name}` in the target"))
                .at(place(target))
                .hint(known_columns(columns)));
        };
        if found.as_ref().generated {
            let name = &found.as_ref().name;
            return Err(schema(format!("column `{name}` is generated and cannot be written"))
                .at(place(target))
                .hint("leave it out of `columns`"));
        }
        Ok(found)
    }

    /// Every column of the target that must have a value gets one.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] with all that do not.
    fn check_filled<C: AsRef<Column>>(&self, target: &str, columns: &[C]) -> Result<()> {
        let missing = |column: &&Column| {
            let Column { nullable, has_default, generated, name, .. } = column;
            !nullable && !has_default && !generated && !self.is_written(name)
        };
        let missing = columns.iter().map(AsRef::as_ref).filter(missing);
        let missing: Vec<_> = missing.map(|column| format!("`{}`", column.name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let message =
            format!("not null, without default and not in the source: {}", missing.join(", "));
        Err(schema(message)
            .at(place(target))
            .hint("map a source column to each, or give them defaults"))
    }

    /// The key that decides conflicts is one by which the target, which has these columns and keys,
    /// knows a row.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] with the keys that there are.
    fn check_key<C: AsRef<Column>>(
        &self,
        name: &TableName,
        columns: &[C],
        keys: &[Key],
    ) -> Result<()> {
        if !is_keyed(self.plan.mode) {
            return Ok(());
        }
        let usable = keys.iter().filter(|key| !key.unusable && !key.columns.is_empty());
        let usable: Vec<_> = usable.collect();
        let others: Vec<_> = keys.iter().filter(|key| key.unusable).collect();
        let known = known_keys(&usable, &others);
        let refuse = |message: String| schema(message).with_code(code::PLAN_KEY);
        if self.plan.key.is_empty() {
            let message = format!("write mode `{}` needs a key", self.plan.mode.word());
            let hint = format!("name the columns that identify a row: key = [\"...\"]; {known}");
            return Err(refuse(message).of_key("write_mode").hint(hint));
        }
        if usable.iter().any(|key| self.is_plan_key(&key.columns)) {
            return Ok(());
        }
        let list = self.plan.key.join(", ");
        let message = format!("`{}` has no key over exactly ({list})", self.dialect.shown(name));
        let own = |key: &String| {
            let mut columns = columns.iter().map(AsRef::as_ref);
            columns.find(|column| self.dialect.is_same_column(&column.name, key))
        };
        let of_key: Vec<_> = self.plan.key.iter().filter_map(own).collect();
        let primary = keys.iter().any(|key| key.primary);
        let add = self.dialect.add_key(name, &of_key, primary);
        Err(refuse(message).of_key("key").hint(format!("{add}; {known}")))
    }

    /// Whether these are the columns of the plan's key, in any order.
    pub fn is_plan_key(&self, columns: &[String]) -> bool {
        columns.len() == self.plan.key.len() && columns.iter().all(|name| self.is_key(name))
    }

    /// Whether a column is in the plan's key.
    pub fn is_key(&self, name: &str) -> bool {
        self.plan.key.iter().any(|key| self.dialect.is_same_column(key, name))
    }

    fn is_written(&self, name: &str) -> bool {
        self.plan.columns.iter().any(|it| self.dialect.is_same_column(&it.name, name))
    }

    /// The columns that an upsert updates: those named, else all that are not of the key.
    pub fn updated_columns(&self) -> Vec<&'a str> {
        if !self.plan.update_columns.is_empty() {
            return self.plan.update_columns.iter().map(String::as_str).collect();
        }
        let names = self.plan.columns.iter().map(|column| column.name.as_str());
        names.filter(|name| !self.is_key(name)).collect()
    }

    /// `CREATE TABLE` for the plan's columns, its key as primary key.
    fn creation(
        &self,
        name: &TableName,
        native: &impl Fn(&Column) -> Option<String>,
    ) -> Result<String> {
        let native = |column: &Column| native(column).ok_or_else(|| self.unsupported(column));
        let types: Vec<_> = self.plan.columns.iter().map(native).collect::<Result<_>>()?;
        let definitions: Vec<_> = (self.plan.columns.iter().zip(&types))
            .map(|(column, native)| ColumnDefinition {
                name: &column.name,
                native,
                // A key of NULL would be no key: some databases let it into primary keys.
                nullable: column.nullable && !self.is_key(&column.name),
            })
            .collect();
        let key: Vec<_> = self.plan.key.iter().map(String::as_str).collect();
        Ok(create_table(self.dialect, name, &definitions, &key))
    }

    /// The refusal of a column whose type the database does not have.
    pub fn unsupported(&self, column: &Column) -> Error {
        let Column { name, logical, .. } = column;
        let database = self.dialect.database();
        let message = format!("column `{name}` is `{logical}`, which {database} cannot hold");
        Error::unsupported(message).hint("leave the column out, or map it to text")
    }

    /// The draft of a plan that creates its table. `native` returns the type of a column in the
    /// database's words, if it has one.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::NotFound`] if the plan does not create its table, [`transload_plugin_api::ErrorKind::Schema`] if it
    /// needs a key and has none, [`transload_plugin_api::ErrorKind::Unsupported`] with the column that the database
    /// cannot hold.
    pub fn new_table(
        &self,
        name: &TableName,
        native: impl Fn(&Column) -> Option<String>,
    ) -> Result<Draft> {
        if !self.plan.create_table {
            let message = format!("there is no table `{}`", self.dialect.shown(name));
            return Err(Error::not_found(message)
                .with_code(code::TABLE_MISSING)
                .of_key("table")
                .hint("`create_table = true` creates it from the source's columns"));
        }
        let columns = self.plan.key.clone();
        let key = Key { name: String::new(), columns, primary: true, unusable: false };
        self.check_key(name, &self.plan.columns, &[key])?;
        let create = Some(self.creation(name, &native)?);
        let mut columns = self.plan.columns.clone();
        for column in &mut columns {
            column.native = native(column).unwrap_or_default();
            column.nullable = column.nullable && !self.is_key(&column.name);
        }
        let steps = self.staging();
        Ok(Draft { columns, create, steps, ..Draft::default() })
    }

    /// The draft of a plan whose table exists, with `columns` and `keys`. `accept` gets each column
    /// of the target with the plan's column that is written to it, and returns the column as the
    /// target takes it.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Schema`] for a column that does not exist or is generated, for one that must
    /// have a value and gets none, and for a key that the target does not have; those of `accept`.
    pub fn existing_table<C: AsRef<Column>>(
        &self,
        name: &TableName,
        columns: &[C],
        keys: &[Key],
        accept: impl Fn(&C, &Column) -> Result<Column>,
    ) -> Result<Draft> {
        let table = self.dialect.shown(name);
        let accepted = self.plan.columns.iter().map(|column| {
            let own = self.writable(&table, columns, &column.name)?;
            accept(own, column).map_err(|error| error.at(place(&table)))
        });
        let accepted = accepted.collect::<Result<_>>()?;
        self.check_filled(&table, columns)?;
        self.check_key(name, columns, keys)?;
        Ok(Draft { columns: accepted, ..Draft::default() })
    }

    /// The step of an overwrite whose target does not exist yet.
    fn staging(&self) -> Vec<Statement> {
        match self.plan.mode {
            WriteMode::Overwrite => {
                vec![plain("load the rows into a stage table, then move them".to_owned())]
            }
            _ => Vec::new(),
        }
    }

    /// The draft as the host gets it: the job's own statements around the steps, what a key that
    /// may be NULL means, and the guarantee.
    pub(crate) fn finish(&self, draft: Draft, wording: Wording<'_>) -> WriteDraft {
        let Draft { columns, create, steps, mut warnings, notes, problems, watermark, .. } = draft;
        let mut statements: Vec<_> = create.into_iter().map(plain).collect();
        statements.extend(draft.token_tables.into_iter().map(plain));
        statements.extend(self.plan.before.iter().map(|text| users(text)));
        statements.extend(steps);
        statements.extend(self.plan.after.iter().map(|text| users(text)));
        let may_be_null = |column: &Column| column.nullable && self.is_key(&column.name);
        let null_key = is_keyed(self.plan.mode) && columns.iter().any(may_be_null);
        if null_key {
            let words = wording.null_key;
            warnings.push(format!("a column of the key is nullable: {words}"));
        }
        if self.plan.mode == WriteMode::Upsert && self.updated_columns().is_empty() {
            warnings.push(
                "all columns are in the key, so there is nothing to update: a row whose key exists \
                 is skipped"
                    .to_owned(),
            );
        }
        let usual = guarantee(self.plan.mode, null_key, wording.overwrite);
        let is_staged = self.plan.mode == WriteMode::Overwrite && draft.weaker.is_none();
        let (guarantee, because) = match (draft.token_table, draft.no_tokens) {
            _ if is_staged => (usual.0, usual.1.to_owned()),
            (Some(_), Some(obstacle)) => (
                draft.weaker.as_ref().map_or(usual.0, |_| Guarantee::AtLeastOnce),
                format!("commit tokens cannot be used: {obstacle}"),
            ),
            (Some(table), None) => (
                Guarantee::EffectivelyOnce,
                format!("each chunk is one transaction, and its token in `{table}` a part of it"),
            ),
            (None, _) => match draft.weaker {
                Some(because) => (Guarantee::AtLeastOnce, because),
                None => (usual.0, usual.1.to_owned()),
            },
        };
        let draft = WriteDraft { columns, statements, guarantee, because, ..WriteDraft::default() };
        WriteDraft { warnings, notes, problems, watermark, ..draft }
    }
}

/// Whether the mode decides conflicts by a key.
pub fn is_keyed(mode: WriteMode) -> bool {
    matches!(mode, WriteMode::Ignore | WriteMode::Upsert | WriteMode::Replace)
}

/// Whether writing a row twice leaves what writing it once does: conflicts are decided by a key
/// that is never NULL.
pub(crate) fn converges(plan: &WritePlan) -> bool {
    let is_key =
        |column: &&Column| plan.key.iter().any(|key| key.eq_ignore_ascii_case(&column.name));
    is_keyed(plan.mode) && !plan.columns.iter().filter(is_key).any(|column| column.nullable)
}

/// A step that removes nothing.
pub fn plain(text: String) -> Statement {
    Statement { text, destructive: false }
}

/// A step that removes or replaces what is there.
pub fn destructive(text: String) -> Statement {
    Statement { text, destructive: true }
}

/// The names of columns, for a hint.
pub fn known_columns<C: AsRef<Column>>(columns: &[C]) -> String {
    let names: Vec<_> = columns.iter().map(|column| column.as_ref().name.as_str()).collect();
    format!("its columns: {}", names.join(", "))
}

/// What a replaced row does to rows of another table.
pub fn replaced_reference(table: &str) -> String {
    format!(
        "`{table}` refers to the target: deleting a replaced row acts on its rows as its foreign \
         key says"
    )
}

fn schema(message: String) -> Error {
    Error::schema(message)
}

fn place(target: &str) -> String {
    format!("table `{target}`")
}

fn known_keys(usable: &[&Key], others: &[&Key]) -> String {
    let lists = |keys: &[&Key]| {
        let list = |key: &&Key| format!("({})", key.columns.join(", "));
        keys.iter().map(list).collect::<Vec<_>>().join(", ")
    };
    let mut hint = match usable.is_empty() {
        true => "the target has no usable primary or unique key".to_owned(),
        false => format!("its keys: {}", lists(usable)),
    };
    if !others.is_empty() {
        hint.push_str("; partial, prefix, deferrable and expression keys cannot: ");
        hint.push_str(&lists(others));
    }
    hint
}

/// What the mode can promise without a record of chunks in the target, and why not more.
fn guarantee(mode: WriteMode, null_key: bool, overwrite: &str) -> (Guarantee, &str) {
    match mode {
        WriteMode::Overwrite => (Guarantee::AtomicJob, overwrite),
        WriteMode::Insert => (
            Guarantee::AtLeastOnce,
            "each chunk is one transaction, but the target does not record which chunks are in: \
             after an unknown outcome, running the job again inserts rows twice unless a key prevents it",
        ),
        _ if null_key => (
            Guarantee::AtLeastOnce,
            "rows whose key holds NULL would be inserted again by a repeated run",
        ),
        _ => (
            Guarantee::Convergent,
            "each chunk is one transaction and the key makes repeating it harmless; the target \
             does not record which chunks are in",
        ),
    }
}

/// A statement of the job's own.
fn users(text: &str) -> Statement {
    Statement { text: text.to_owned(), destructive: destroys(text) }
}

/// Whether a statement begins with a word that takes something away.
fn destroys(sql: &str) -> bool {
    const WORDS: [&str; 8] =
        ["ALTER", "DELETE", "DROP", "MERGE", "RENAME", "REPLACE", "TRUNCATE", "UPDATE"];
    let word = sql.split_whitespace().next().unwrap_or_default();
    WORDS.iter().any(|known| known.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use transload_plugin_api::LogicalType;

    use super::*;
    use crate::dialect::tests::{Folding, Standard};
    use transload_plugin_api::ErrorKind;

    const WORDING: Wording<'static> = Wording { overwrite: "swapped", null_key: "always new" };

    fn column(name: &str) -> Column {
        Column::new(name, LogicalType::Int64, true)
    }

    fn plan(mode: WriteMode, columns: &[&str], key: &[&str]) -> WritePlan {
        WritePlan {
            columns: columns.iter().map(|name| column(name)).collect(),
            mode,
            key: key.iter().map(|name| (*name).to_owned()).collect(),
            ..WritePlan::default()
        }
    }

    fn standard(plan: &WritePlan) -> Drafting<'_> {
        Drafting { dialect: &Standard, plan }
    }

    fn key(columns: &[&str], unusable: bool) -> Key {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        Key { name: String::new(), columns, primary: false, unusable }
    }

    #[test]
    fn names_that_do_not_agree_are_refused() {
        let long = "x".repeat(64);
        for (columns, key, words) in [
            (&[][..], &[][..], "no columns"),
            (&["a", "a"], &[], "`a` occurs twice"),
            (&["a"], &["b"], "`b` is not among"),
            (&[long.as_str()], &[], "longer than 63 bytes"),
        ] {
            let plan = plan(WriteMode::Insert, columns, key);
            let error = standard(&plan).check_names().unwrap_err();
            assert_eq!(error.kind, ErrorKind::Schema);
            assert!(error.message.contains(words), "{error}");
        }
        let two = plan(WriteMode::Insert, &["a", "A"], &["a"]);
        assert!(standard(&two).check_names().is_ok());
        let error = Drafting { dialect: &Folding, plan: &two }.check_names().unwrap_err();
        assert!(error.hint.unwrap().contains("more than case"));
    }

    #[test]
    fn t50_missing_and_generated_columns_are_refused() {
        let mut made = column("b");
        made.generated = true;
        let columns = [column("a"), made];
        let plan = plan(WriteMode::Insert, &["a"], &[]);
        let drafting = standard(&plan);
        assert_eq!(drafting.writable("s.t", &columns, "a").unwrap().name, "a");
        let error = drafting.writable("s.t", &columns, "c").unwrap_err();
        assert_eq!(error.to_string(), "table `s.t`: there is no column `c` in the target");
        assert_eq!(error.hint.as_deref(), Some("its columns: a, b"));
        let error = drafting.writable("s.t", &columns, "b").unwrap_err();
        assert!(error.message.contains("`b` is generated"));
    }

    #[test]
    fn t50_columns_that_must_have_a_value_are_all_named() {
        let mut columns = ["a", "b", "c", "d", "e"].map(column);
        columns.iter_mut().for_each(|column| column.nullable = column.name == "e");
        (columns[1].has_default, columns[2].generated) = (true, true);
        let none = plan(WriteMode::Insert, &["x"], &[]);
        let error = standard(&none).check_filled("t", &columns).unwrap_err();
        assert!(error.message.ends_with("not in the source: `a`, `d`"), "{error}");
        let both = plan(WriteMode::Insert, &["a", "d"], &[]);
        assert!(standard(&both).check_filled("t", &columns).is_ok());
    }

    #[test]
    fn t44_a_key_decides_only_if_the_target_knows_it() {
        let keys = [key(&["a", "b"], false), key(&["c"], true), key(&[], true)];
        let name = TableName::bare("t");
        for (mode, columns, hint) in [
            (WriteMode::Insert, &[][..], None),
            (WriteMode::Upsert, &["b", "a"], None),
            (WriteMode::Upsert, &["a"], Some("its keys: (a, b); partial")),
            (WriteMode::Ignore, &["c"], Some("cannot: (c), ()")),
            (WriteMode::Replace, &[], Some("key = [\"...\"]; its keys: (a, b)")),
        ] {
            let plan = plan(mode, &["a", "b", "c"], columns);
            let found = standard(&plan).check_key(&name, &plan.columns, &keys);
            match hint {
                None => assert!(found.is_ok(), "{columns:?}"),
                Some(hint) => assert!(found.unwrap_err().hint.unwrap().contains(hint), "{hint}"),
            }
        }
        let plan = plan(WriteMode::Upsert, &["a"], &["a"]);
        let error = standard(&plan).check_key(&name, &plan.columns, &[]).unwrap_err();
        assert_eq!((&*error.code, error.key.as_deref()), ("PLAN-KEY", Some("key")));
        assert_eq!(
            error.hint.as_deref(),
            Some(
                "ALTER TABLE \"t\" ADD PRIMARY KEY (\"a\"); the target has no usable primary or unique key"
            )
        );
    }

    #[test]
    fn tables_are_made_only_on_request_and_of_types_that_there_are() {
        let mut plan = plan(WriteMode::Upsert, &["a", "b"], &["a"]);
        let name = TableName::bare("t");
        let native = |_: &Column| Some("INT".to_owned());
        let error = standard(&plan).new_table(&name, native).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
        plan.create_table = true;
        let made = standard(&plan).new_table(&name, native).unwrap();
        let create = r#"CREATE TABLE "t" ("a" INT NOT NULL, "b" INT, PRIMARY KEY ("a"))"#;
        assert_eq!(made.create.as_deref(), Some(create));
        let error = standard(&plan).new_table(&name, |_| None).unwrap_err();
        assert_eq!(error.message, "column `a` is `int64`, which the standard cannot hold");
        assert_eq!((made.columns[0].nullable, made.columns[1].nullable), (false, true));
    }

    #[test]
    fn drafts_tell_what_they_destroy_and_what_they_promise() {
        for (mode, nullable, guarantee, warnings) in [
            (WriteMode::Insert, true, Guarantee::AtLeastOnce, 0),
            (WriteMode::Upsert, false, Guarantee::Convergent, 0),
            (WriteMode::Upsert, true, Guarantee::AtLeastOnce, 1),
            (WriteMode::Overwrite, true, Guarantee::AtomicJob, 0),
        ] {
            let mut plan = plan(mode, &["a", "b"], &["a"]);
            plan.before = vec!["delete FROM t".to_owned()];
            plan.after = vec!["ANALYZE t".to_owned()];
            let steps = vec![destructive("swap".to_owned())];
            let mut draft = Draft { columns: plan.columns.clone(), steps, ..Draft::default() };
            draft.columns[0].nullable = nullable;
            let draft = standard(&plan).finish(draft, WORDING);
            let steps: Vec<_> =
                draft.statements.iter().map(|it| (it.text.as_str(), it.destructive)).collect();
            assert_eq!(steps, [("delete FROM t", true), ("swap", true), ("ANALYZE t", false)]);
            assert_eq!((draft.guarantee, draft.warnings.len()), (guarantee, warnings), "{mode:?}");
        }
        let all = plan(WriteMode::Upsert, &["a"], &["a"]);
        let draft = standard(&all).finish(Draft::default(), WORDING);
        assert!(draft.warnings[0].contains("nothing to update"));
    }
}
