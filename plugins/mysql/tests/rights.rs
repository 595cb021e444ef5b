//! Rights: what a user may not see or do stands in the plan, with the statement that gives the right.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use support::{Fixture, Server};
use transload_plugin_api::{
    Column, ErrorKind, Host, LogicalType, Plugin, WriteDraft, WriteMode, WritePlan,
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
