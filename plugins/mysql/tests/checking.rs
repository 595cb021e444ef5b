//! The findings of `check` on real servers: the stages in order, up to the first that fails.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use support::{Fixture, Server};
use transload_plugin_api::{ErrorKind, Finding, Options, Plugin};
use transload_plugin_mysql::MysqlPlugin;

fn servers() -> [Server; 2] {
    [Server::mariadb(), Server::mysql()]
}

fn options(fixture: &Fixture, pairs: &[(&str, &str)]) -> Options {
    let mut options = fixture.options(&[]);
    for (key, value) in pairs {
        let number = value.parse::<u16>().map(Into::into);
        options.values.insert((*key).to_owned(), number.unwrap_or_else(|_| (*value).into()));
    }
    options
}

fn reading(fixture: &Fixture, pairs: &[(&str, &str)]) -> Vec<Finding> {
    MysqlPlugin.reader(options(fixture, pairs), fixture.host()).unwrap().check().unwrap()
}

fn writing(fixture: &Fixture, pairs: &[(&str, &str)]) -> Vec<Finding> {
    MysqlPlugin.writer(options(fixture, pairs), fixture.host()).unwrap().check().unwrap()
}

/// The stages; `!` marks one that failed.
fn stages(findings: &[Finding]) -> Vec<String> {
    let word = |it: &Finding| format!("{}{}", if it.ok { "" } else { "!" }, it.stage);
    findings.iter().map(word).collect()
}

fn detail<'a>(findings: &'a [Finding], stage: &str) -> &'a str {
    &findings.iter().find(|it| it.stage == stage).unwrap().detail
}

const WAY: [&str; 5] = ["name resolution", "tcp", "login", "server", "rights"];

#[test]
fn a_connection_is_tested_without_a_table() {
    for (server, name) in servers().into_iter().zip(["MariaDB ", "MySQL "]) {
        let fixture = Fixture::new(&server, "CREATE TABLE t(i INT);");
        let found = reading(&fixture, &[]);
        assert_eq!(stages(&found), WAY, "{found:?}");
        let server = detail(&found, "server");
        assert!(server.starts_with(name), "{server}");
        for word in [", time zone ", ", encoding utf8mb4", "; LOAD DATA LOCAL is "] {
            assert!(server.contains(word), "{server}");
        }
        assert!(detail(&found, "rights").starts_with("1 table or view is visible"));
        let found = writing(&fixture, &[]);
        assert_eq!(stages(&found), WAY, "{found:?}");
        assert!(detail(&found, "rights").contains("INSERT"), "{found:?}");
        let reader = fixture.reader(&[]);
        assert_eq!(reader.schema().unwrap_err().kind, ErrorKind::Options);
        assert_eq!(reader.discover().unwrap().len(), 1);
        let writer = MysqlPlugin.writer(options(&fixture, &[]), fixture.host()).unwrap();
        assert_eq!(writer.inspect().unwrap_err().kind, ErrorKind::Options);
    }
}

#[test]
fn the_first_stage_that_fails_is_the_last() {
    for server in servers() {
        let fixture = Fixture::new(&server, "");
        for (pairs, expected) in [
            (&[("host", "no.such.host.invalid")][..], &["!name resolution"][..]),
            (&[("port", "1")], &["name resolution", "!tcp"]),
            (&[("database", "no_such_database")], &["name resolution", "tcp", "!login"]),
            (
                &[("tls", "verify-ca"), ("ca_file", "/nonexistent")],
                &["name resolution", "tcp", "!tls"],
            ),
            (
                &[("tls", "insecure-require"), ("user", "nobody_there")],
                &["name resolution", "tcp", "tls", "!login"],
            ),
        ] {
            for found in [reading(&fixture, pairs), writing(&fixture, pairs)] {
                assert_eq!(stages(&found), expected, "{found:?}");
            }
        }
        let found = reading(&fixture, &[("tls", "insecure-require")]);
        assert_eq!(stages(&found)[2], "tls");
        assert!(detail(&found, "tls").starts_with("TLSv1.3, "), "{found:?}");
    }
}

#[test]
fn rights_are_told() {
    for server in servers() {
        let fixture = Fixture::new(&server, "CREATE TABLE t(i INT NOT NULL, j INT);");
        let user = format!("poor_{}", std::process::id());
        let database = &fixture.database;
        fixture.run(&format!(
            "CREATE USER {user}@'%' IDENTIFIED BY '{}';
             GRANT SELECT (j) ON {database}.t TO {user}@'%';",
            server.password()
        ));
        let poor = [("user", user.as_str()), ("table", "t")];
        let (read, written) = (reading(&fixture, &poor), writing(&fixture, &poor));
        fixture.run(&format!("GRANT INSERT ON {database}.t TO {user}@'%';"));
        let granted = writing(&fixture, &poor);
        fixture.run(&format!("REVOKE SELECT (j) ON {database}.t FROM {user}@'%';"));
        let blind = reading(&fixture, &poor);
        fixture.run(&format!("DROP USER {user}@'%';"));
        assert_eq!(stages(&read).last().unwrap(), "source", "{read:?}");
        assert!(detail(&read, "source").contains("engine InnoDB: a split reads one snapshot"));
        assert!(detail(&written, "rights").starts_with("nothing is granted"), "{written:?}");
        assert_eq!(stages(&written).last().unwrap(), "!table");
        assert!(detail(&written, "table").starts_with("no right to insert into"), "{written:?}");
        assert!(detail(&granted, "table").ends_with("rights: INSERT"), "{granted:?}");
        assert_eq!(stages(&blind).last().unwrap(), "!source", "{blind:?}");
    }
}
