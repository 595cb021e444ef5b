//! Rights: what a user may not see or do stands in the plan, with the statement that gives the right.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use support::{Fixture, Server};
use transload_plugin_api::{
    Column, Error, ErrorKind, Host, LogicalType, Plugin, WriteDraft, WriteMode, WritePlan,
};
use transload_plugin_mysql::MysqlPlugin;

#[test]
fn what_is_tried_before_a_run_comes_with_the_way_out() {
    for server in [Server::mariadb(), Server::mysql()] {
        let fixture = Fixture::new(
            &server,
            "CREATE TABLE customers(id INT); CREATE TABLE orders(id INT PRIMARY KEY, a INT);",
        );
        let user = format!("tried_{}", fixture.database);
        fixture.run(&format!(
            "CREATE USER {user}@'%' IDENTIFIED BY ''; GRANT SELECT ON customers TO {user}@'%';"
        ));
        let options = |pairs: &[(&str, &str)]| {
            let mut options = fixture.options(pairs);
            options.values.insert("user".into(), user.clone().into());
            options
        };
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let schema = |table: &str, filter: &str| {
                let options = options(&[("table", table), ("where", filter)]);
                MysqlPlugin.reader(options, Host::detached()).unwrap().schema()
            };
            // A table that may not be seen is not told from one that is not there.
            let error = schema("orders", "id > 0").unwrap_err();
            assert_eq!((error.kind, error.key.as_deref()), (ErrorKind::NotFound, Some("table")));
            let hint = error.hint.unwrap();
            assert!(
                hint.starts_with("1 table: customers; if it is there: GRANT SELECT ON"),
                "{hint}"
            );
            fixture.run(&format!("{};", hint.split_once("there: ").unwrap().1));
            assert_eq!(schema("orders", "id > 0").unwrap().problems, []);
            let problems = schema("orders", "idd > 0").unwrap().problems;
            assert_eq!(problems[0].key.as_deref(), Some("where"), "{problems:?}");
            assert!(problems[0].message.starts_with("`where`: "), "{problems:?}");
            let missing = fixture.reader(&[("table", "custmers")]).schema().unwrap_err();
            let words = "did you mean `customers`? (2 tables: customers, orders)";
            assert_eq!(missing.hint.as_deref(), Some(words), "{missing:?}");

            let columns =
                ["id", "a"].map(|name| Column::new(name, LogicalType::Int32, name == "a"));
            let mut plan = WritePlan {
                run: "r".into(),
                columns: columns.to_vec(),
                mode: WriteMode::Insert,
                before: vec!["DELETE FROM customers".into(), "SELEC 1".into()],
                ..WritePlan::default()
            };
            let draft = |table: &str, plan: &WritePlan| {
                let options = options(&[("table", table)]);
                MysqlPlugin.writer(options, Host::detached()).unwrap().draft(plan)
            };
            let WriteDraft { problems, .. } = draft("orders", &plan).unwrap();
            let keys: Vec<_> = problems.iter().map(|it| it.key.as_deref().unwrap()).collect();
            assert_eq!(keys, ["table", "before[0]", "before[1]"], "{problems:?}");
            fixture.run(&format!("{};", problems[0].hint.as_deref().unwrap()));
            plan.before.clear();
            draft("orders", &plan).unwrap();
            plan.create_table = true;
            let error = draft("fresh", &plan).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Denied, "{error:?}");
            fixture.run(&format!("{};", error.hint.unwrap()));
            draft("fresh", &plan).unwrap();
        }));
        fixture.run(&format!("DROP USER {user}@'%'"));
        tried.unwrap();
    }
}

/// A login with the given rights on the database, removed in the end; the plan's problem with each
/// write mode, and the hint about it tried.
fn with_user(
    server: &Server,
    rights: &str,
    test: impl Fn(&Fixture, &dyn Fn(&[(&str, &str)]) -> Result<WriteDraft, Error>),
) {
    let fixture = Fixture::new(server, "CREATE TABLE orders(id INT PRIMARY KEY, a INT);");
    let user = format!("over_{}", fixture.database);
    let database = &fixture.database;
    fixture.run(&format!(
        "CREATE USER {user}@'%' IDENTIFIED BY ''; GRANT {rights} ON {database}.* TO {user}@'%';"
    ));
    let columns = ["id", "a"].map(|name| Column::new(name, LogicalType::Int32, name == "a"));
    let plan = WritePlan {
        run: "20261201t000000-00000000".into(),
        columns: columns.to_vec(),
        mode: WriteMode::Overwrite,
        create_table: true,
        ..WritePlan::default()
    };
    let draft = |pairs: &[(&str, &str)]| {
        let mut options = fixture.options(pairs);
        options.values.insert("user".into(), user.clone().into());
        MysqlPlugin.writer(options, Host::detached()).unwrap().draft(&plan)
    };
    let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&fixture, &draft)));
    fixture.run(&format!("DROP USER {user}@'%'"));
    tried.unwrap();
}

/// An overwrite that swaps tables makes, changes, renames and drops them.
#[test]
fn rights_to_swap_tables_are_tried_without_effect() {
    for server in [Server::mariadb(), Server::mysql()] {
        for table in ["orders", "fresh"] {
            with_user(&server, "SELECT, INSERT", |fixture, draft| {
                let error = draft(&[("table", table)]).unwrap_err();
                let database = &fixture.database;
                let words = format!(
                    "this user lacks rights on database `{database}` to swap tables: \
                     DELETE, CREATE, ALTER, DROP"
                );
                assert_eq!((error.kind, &*error.message), (ErrorKind::Denied, &*words));
                assert_eq!(error.key.as_deref(), Some("write_mode"));
                let hint = error.hint.unwrap();
                let start = format!("GRANT DELETE, CREATE, ALTER, DROP ON `{database}`.* TO ");
                assert!(hint.starts_with(&start), "{hint}");
                fixture.run(&format!("{hint};"));
                assert_eq!(draft(&[("table", table)]).unwrap().problems, []);
                assert_eq!(fixture.lines("SHOW TABLES"), ["orders"]);
            });
        }
    }
}

/// TRUNCATE needs DROP, which may be granted on the table alone.
#[test]
fn the_right_to_empty_a_table_is_tried_without_effect() {
    for server in [Server::mariadb(), Server::mysql()] {
        with_user(&server, "SELECT, INSERT", |fixture, draft| {
            let emptied = [("table", "orders"), ("overwrite", "truncate")];
            let error = draft(&emptied).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Denied, "{error:?}");
            assert!(error.message.ends_with(".orders` to empty it: DROP"), "{error:?}");
            fixture.run(&format!("{};", error.hint.unwrap()));
            assert_eq!(draft(&emptied).unwrap().problems, []);
            assert_eq!(fixture.lines("SHOW TABLES"), ["orders"]);
        });
    }
}

/// The server makes no key of a text without a length; the hint says how it does.
#[test]
fn the_hint_about_a_missing_key_works_for_texts_and_bytes() {
    for server in [Server::mariadb(), Server::mysql()] {
        for (native, logical) in [
            ("LONGTEXT", LogicalType::TEXT),
            ("TEXT NOT NULL", LogicalType::TEXT),
            ("VARCHAR(2000)", LogicalType::TEXT),
            ("LONGBLOB", LogicalType::Binary),
            ("JSON", LogicalType::TEXT),
            ("VARCHAR(20)", LogicalType::TEXT),
        ] {
            let others = ["", ", PRIMARY KEY (n)"];
            for other in &others[..1 + usize::from(native == "LONGTEXT")] {
                let fixture =
                    Fixture::new(&server, &format!("CREATE TABLE t(k {native}, n INT{other})"));
                let columns = [
                    Column::new("k", logical.clone(), false),
                    Column::new("n", LogicalType::Int32, true),
                ];
                let plan = WritePlan {
                    run: "r".into(),
                    columns: columns.to_vec(),
                    mode: WriteMode::Upsert,
                    key: vec!["k".into()],
                    ..WritePlan::default()
                };
                let error = fixture.writer("t").draft(&plan).unwrap_err();
                assert_eq!(error.code, "PLAN-KEY", "{native}: {error:?}");
                let hint = error.hint.unwrap();
                let (statement, _) = hint.split_once("; ").unwrap();
                fixture.run(&format!("{statement};"));
                fixture.writer("t").draft(&plan).unwrap();
            }
        }
    }
}
