//! The findings of `check` on a real server: the stages in order, up to the first that fails.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use serde_json::Value;
use support::{Fixture, host};
use transload_plugin_api::{ErrorKind, Finding, Options, Plugin};
use transload_plugin_postgres::PostgresPlugin;

fn options(fixture: &Fixture, pairs: &[(&str, &str)]) -> Options {
    let mut options = fixture.options(&[]);
    for (key, value) in pairs {
        let number = value.parse::<u16>().map(Value::from);
        options.values.insert((*key).to_owned(), number.unwrap_or_else(|_| (*value).into()));
    }
    options
}

fn reading(options: &Options) -> Vec<Finding> {
    PostgresPlugin.reader(options.clone(), host()).unwrap().check().unwrap()
}

fn writing(options: &Options) -> Vec<Finding> {
    PostgresPlugin.writer(options.clone(), host()).unwrap().check().unwrap()
}

/// The stages; `!` marks one that failed.
fn stages(findings: &[Finding]) -> Vec<String> {
    let word = |it: &Finding| format!("{}{}", if it.ok { "" } else { "!" }, it.stage);
    findings.iter().map(word).collect()
}

fn detail<'a>(findings: &'a [Finding], stage: &str) -> &'a str {
    &findings.iter().find(|it| it.stage == stage).unwrap().detail
}

const WAY: [&str; 4] = ["name resolution", "tcp", "login", "server"];

#[test]
fn a_connection_is_tested_without_a_table() {
    let fixture = Fixture::new("CREATE TABLE t(i int)");
    let options = fixture.options(&[]);
    let found = reading(&options);
    assert_eq!(stages(&found), [&WAY[..], &["rights", "snapshot"]].concat());
    assert!(detail(&found, "server").starts_with("PostgreSQL 1"), "{found:?}");
    assert!(detail(&found, "server").contains("time zone "), "{found:?}");
    assert!(detail(&found, "server").contains("encoding UTF8"), "{found:?}");
    assert_eq!(detail(&found, "rights"), "SELECT on 1 table or view");
    assert!(detail(&found, "snapshot").starts_with("all splits can share one snapshot"));
    let found = writing(&options);
    assert_eq!(stages(&found), [&WAY[..], &["rights"]].concat());
    assert!(detail(&found, "rights").contains("public"), "{found:?}");
    let reader = PostgresPlugin.reader(options.clone(), host()).unwrap();
    assert_eq!(reader.schema().unwrap_err().kind, ErrorKind::Options);
    assert_eq!(reader.discover().unwrap().len(), 1);
    let writer = PostgresPlugin.writer(options, host()).unwrap();
    assert_eq!(writer.inspect().unwrap_err().kind, ErrorKind::Options);
}

#[test]
fn the_first_stage_that_fails_is_the_last() {
    let fixture = Fixture::new("");
    for (pairs, expected) in [
        (&[("host", "no.such.host.invalid")][..], &["!name resolution"][..]),
        (&[("port", "1")], &["name resolution", "!tcp"]),
        (&[("database", "no_such_database")], &["name resolution", "tcp", "!login"]),
        (&[("tls", "verify-full")], &["name resolution", "tcp", "!tls"]),
        (
            &[("tls", "insecure-require"), ("user", "nobody_there")],
            &["name resolution", "tcp", "tls", "!login"],
        ),
    ] {
        let options = options(&fixture, pairs);
        for found in [reading(&options), writing(&options)] {
            assert_eq!(stages(&found), expected, "{found:?}");
            assert!(!format!("{found:?}").contains("secret"), "{found:?}");
        }
    }
    let found = reading(&options(&fixture, &[("tls", "insecure-require")]));
    assert_eq!(stages(&found)[2], "tls");
    assert!(detail(&found, "tls").starts_with("TLSv1.3, "), "{found:?}");
}

#[test]
fn a_unix_socket_is_a_way_to_the_server() {
    let fixture = Fixture::new("CREATE TABLE t(i int); INSERT INTO t VALUES (1)");
    let folders = fixture.rows("SHOW unix_socket_directories");
    assert!(folders[0].starts_with('/'), "the server has no Unix socket: {folders:?}");
    let socket = options(&fixture, &[("host", &folders[0]), ("table", "t")]);
    assert_eq!(stages(&reading(&socket))[..3], ["socket", "login", "server"]);
    let reader = PostgresPlugin.reader(socket.clone(), host()).unwrap();
    assert_eq!(support::read_rows(&mut *support::open_first(&*reader)).unwrap(), 1);
    let mut url = socket;
    url.values.remove("host");
    url.values.insert("url".to_owned(), {
        let folder = folders[0].replace('/', "%2F");
        format!("postgres://{folder}").into()
    });
    assert_eq!(stages(&writing(&url))[..3], ["socket", "login", "server"]);
    let nowhere = options(&fixture, &[("host", "/nonexistent")]);
    let found = reading(&nowhere);
    assert_eq!(stages(&found), ["!socket"]);
    assert!(detail(&found, "socket").contains("is this its socket?"), "{found:?}");
}

#[test]
fn rights_are_told() {
    let fixture = Fixture::new("CREATE TABLE t(i int)");
    let user = format!("transload_poor_{}", std::process::id());
    let password = support::server().get_password().unwrap().to_vec();
    let password = String::from_utf8(password).unwrap();
    fixture.run(&format!("CREATE ROLE {user} LOGIN PASSWORD '{password}'"));
    let poor = |table| options(&fixture, &[("user", &user), ("table", table)]);
    let (read, written, gone) = (reading(&poor("t")), writing(&poor("t")), reading(&poor("u")));
    fixture.run(&format!("GRANT SELECT(i), INSERT ON t TO {user}"));
    let granted = (reading(&poor("t")), writing(&poor("t")));
    fixture.run(&format!("DROP OWNED BY {user}; DROP ROLE {user}"));
    assert!(detail(&read, "rights").starts_with("warning: no readable tables"));
    assert!(detail(&read, "source").starts_with("no right to read `t`"), "{read:?}");
    assert!(detail(&written, "table").starts_with("no right to insert into `t`; rights"));
    assert!(detail(&gone, "source").starts_with("there is no table `u`"));
    for (found, stage) in [(read, "source"), (written, "table"), (gone, "source")] {
        assert_eq!(stages(&found).last().unwrap(), &format!("!{stage}"));
    }
    assert_eq!(detail(&granted.0, "source"), "table `t`: 1 columns");
    assert_eq!(detail(&granted.1, "table"), "table `t` exists; rights: INSERT");
}
