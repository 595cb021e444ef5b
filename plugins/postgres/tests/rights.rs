//! Rights and row security: what a user may not see or do stands in the plan.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use support::{Fixture, read_all};
use transload_plugin_api::{ErrorKind, Plugin, WriteMode};
use transload_plugin_postgres::PostgresPlugin;

fn rows(reader: &dyn transload_plugin_api::Reader) -> usize {
    read_all(reader, 1).iter().flatten().map(|read| read.batch.num_rows()).sum()
}

/// A role of its own, removed with what it owns.
struct Role<'a>(&'a Fixture, String);

impl<'a> Role<'a> {
    fn new(fixture: &'a Fixture, name: &str) -> Self {
        let role = format!("transload_{name}_{}", std::process::id());
        let password = support::server().get_password().unwrap().to_vec();
        let password = String::from_utf8(password).unwrap();
        fixture.run(&format!("CREATE ROLE {role} LOGIN PASSWORD '{password}'"));
        Self(fixture, role)
    }

    fn options(&self, pairs: &[(&str, &str)]) -> transload_plugin_api::Options {
        let mut options = self.0.options(pairs);
        options.values.insert("user".to_owned(), self.1.as_str().into());
        options
    }
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        self.0.run(&format!("DROP OWNED BY {0}; DROP ROLE {0}", self.1));
    }
}

#[test]
fn rows_that_row_security_hides_are_not_left_out_silently() {
    let fixture = Fixture::new(
        "CREATE TABLE t(id int PRIMARY KEY, owner text);
         INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'a'), (4, 'c'), (5, 'd');
         ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON t USING (owner = 'a')",
    );
    let role = Role::new(&fixture, "rls");
    fixture.run(&format!("GRANT ALL ON t TO {}", role.1));
    let reader = |pairs| PostgresPlugin.reader(role.options(pairs), support::host()).unwrap();
    let error = reader(&[("table", "t")]).schema().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error:?}");
    assert!(error.message.contains("hides rows from this user; its policies: mine"), "{error:?}");
    let error = reader(&[("query", "SELECT * FROM t")]).schema().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error:?}");
    assert!(error.hint.unwrap().contains("`enable_row_security = true`"));
    for source in [("table", "t"), ("query", "SELECT * FROM t")] {
        let mut options = role.options(&[source]);
        options.values.insert("enable_row_security".to_owned(), true.into());
        let reader = PostgresPlugin.reader(options, support::host()).unwrap();
        let noted = reader.schema().unwrap().warnings.iter().any(|it| it.contains("mine"));
        assert_eq!(noted, source.0 == "table");
        assert_eq!(rows(&*reader), 2);
    }
    let plan = support::plan(WriteMode::Insert, &[("id", "int32"), ("owner", "text")], &[]);
    let writer = PostgresPlugin.writer(role.options(&[("table", "t")]), support::host()).unwrap();
    let error = writer.draft(&plan).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error:?}");
    assert_eq!(rows(&*fixture.reader(&[("table", "t")])), 5, "its owner sees all rows");
}

#[test]
fn rights_that_a_plan_needs_are_named_in_it() {
    let fixture = Fixture::new("CREATE TABLE t(id int PRIMARY KEY, a text, b text)");
    let role = Role::new(&fixture, "rights");
    fixture.run(&format!("GRANT SELECT(id, a), INSERT(id, a) ON t TO {}", role.1));
    let options = || role.options(&[("table", "t")]);
    let reader = PostgresPlugin.reader(options(), support::host()).unwrap();
    let schema = reader.schema().unwrap();
    let noted = schema.notes.iter().any(|note| note.starts_with("column `b` cannot be read"));
    assert!(noted, "{:?}", schema.notes);
    reader.produces(&schema.columns[..2]).unwrap();
    let error = reader.produces(&schema.columns).unwrap_err();
    assert_eq!((error.kind, &*error.message), (ErrorKind::Denied, "no right to read column `b`"));
    let writer = PostgresPlugin.writer(options(), support::host()).unwrap();
    let columns = [("id", "int32"), ("a", "text"), ("b", "text")];
    for (mode, columns, missing) in [
        (WriteMode::Insert, &columns[..2], ""),
        (WriteMode::Insert, &columns, "INSERT on column `b`"),
        (WriteMode::Ignore, &columns[..2], ""),
        (WriteMode::Upsert, &columns[..2], "UPDATE on column `a`"),
        (
            WriteMode::Overwrite,
            &columns[..2],
            "SELECT on the table, TRUNCATE on the table, CREATE in its schema",
        ),
    ] {
        match writer.draft(&support::plan(mode, columns, &["id"])) {
            Ok(_) => assert_eq!(missing, "", "{mode:?}"),
            Err(error) => {
                let words = format!("this user lacks rights: {missing}");
                assert_eq!((error.kind, error.message), (ErrorKind::Denied, words), "{mode:?}");
            }
        }
    }
}

/// What is tried before a run: the rights, a condition, statements. Each hint about a right is the
/// statement that gives it.
#[test]
fn what_is_tried_before_a_run_comes_with_the_way_out() {
    let fixture = Fixture::new(
        "CREATE SCHEMA closed; CREATE TABLE closed.t(id int PRIMARY KEY, a text);
         CREATE TABLE closed.log(id int)",
    );
    let role = Role::new(&fixture, "tried");
    let options = |pairs: &[(&str, &str)]| role.options(pairs);
    let reader = || {
        let options = options(&[("table", "closed.t"), ("where", "id > 0")]);
        PostgresPlugin.reader(options, support::host()).unwrap()
    };
    // First the schema is closed, then the table.
    let error = reader().schema().unwrap_err();
    assert_eq!((error.kind, error.key.as_deref()), (ErrorKind::Denied, Some("table")), "{error:?}");
    let hint = error.hint.unwrap();
    assert!(hint.starts_with("GRANT USAGE ON SCHEMA closed TO "), "{hint}");
    let (usage, select) = hint.split_once("; ").unwrap();
    fixture.run(usage);
    let problems = reader().schema().unwrap().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!((problems[0].kind, problems[0].hint.as_deref()), (ErrorKind::Denied, Some(select)));
    fixture.run(select);
    assert_eq!(reader().schema().unwrap().problems, []);

    let mut plan = support::plan(WriteMode::Insert, &[("id", "int32"), ("a", "text")], &[]);
    plan.before = ["DELETE FROM closed.log", "SELECT 1; DROP TABLE closed.t; SELEC"]
        .map(str::to_owned)
        .to_vec();
    let writer =
        |table| PostgresPlugin.writer(options(&[("table", table)]), support::host()).unwrap();
    let problems = writer("closed.t").draft(&plan).unwrap().problems;
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_deref().unwrap()).collect();
    assert_eq!(keys, ["table", "before[0]", "before[1]"], "{problems:?}");
    assert!(problems[1].message.contains("permission denied"), "{}", problems[1]);
    assert!(problems[2].message.starts_with("`before` statement 2: syntax error"), "{problems:?}");
    fixture.run(problems[0].hint.as_deref().unwrap());
    plan.before.clear();
    writer("closed.t").draft(&plan).unwrap();

    plan.create_table = true;
    for (table, hint) in [
        ("closed.new", format!("GRANT CREATE ON SCHEMA closed TO {}", role.1)),
        ("absent.new", "CREATE SCHEMA absent".to_owned()),
    ] {
        let error = writer(table).draft(&plan).unwrap_err();
        assert_eq!(error.hint.as_deref(), Some(hint.as_str()), "{error:?}");
    }
    fixture.run(&format!("GRANT CREATE ON SCHEMA closed TO {}", role.1));
    writer("closed.new").draft(&plan).unwrap();
}
