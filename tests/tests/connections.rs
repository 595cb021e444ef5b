//! `connection list` and `connection test`: which connections exist, and at which stage one fails.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use serde_json::Value;
use transload_tests::{
    Workplace,
    servers::{Database, Product},
};
use transload_tests_buckets::Bucket;

/// The findings of `connection test`, and its exit code.
fn findings(
    workplace: &Workplace,
    arguments: &[&str],
) -> (Option<i32>, Vec<(String, bool, String)>) {
    let command = [&["connection", "test"], arguments, &["--output", "json"]].concat();
    let ended = workplace.run(&command);
    let told: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    assert!(told["findings"].is_array(), "{ended:?}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let finding = |finding: &Value| {
        (text(&finding["stage"]), finding["ok"].as_bool().unwrap(), text(&finding["detail"]))
    };
    (ended.exit, told["findings"].as_array().unwrap().iter().map(finding).collect())
}

/// A connection file whose `shop` has an environment for every possible failure.
fn file(database: &Database) -> String {
    let good = database.address(None);
    let (host, port) = (&database.server.host, database.server.port);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = format!("host = \"{host}\"");
    let (password, _) = good.split_once("password =").unwrap();
    [
        ("good", good.clone()),
        ("password", format!("{password}password = {{ command = [\"echo\", \"c4n4ry\"] }}\n")),
        ("name", good.replace(&host, "host = \"no-such-host.invalid\"")),
        ("port", good.replace(&format!("port = {port}"), &format!("port = {closed}"))),
        // The system does not trust its certificate.
        ("trust", format!("{good}tls = \"verify-full\"\n")),
    ]
    .map(|(environment, lines)| format!("[shop.{environment}]\n{lines}"))
    .concat()
}

#[test]
fn a_test_goes_stage_by_stage_to_the_first_that_fails() {
    for product in Product::ALL {
        let workplace = Workplace::new();
        let database = Database::new(product, "");
        workplace.put("connections.toml", file(&database));
        for (environment, stages, said) in [
            ("good", &["name resolution", "tcp", "login", "server"][..], ""),
            ("password", &["name resolution", "tcp", "login"], "log in"),
            ("name", &["name resolution"], "address"),
            ("port", &["name resolution", "tcp"], "refused"),
            ("trust", &["name resolution", "tcp", "tls"], "certificate"),
        ] {
            let (exit, found) = findings(&workplace, &["shop", "--env", environment]);
            let good = environment == "good";
            assert_eq!(exit, Some(if good { 0 } else { 5 }), "{product:?}: {found:?}");
            let names: Vec<_> = found.iter().map(|(stage, ..)| stage.as_str()).collect();
            assert!(names.starts_with(stages), "{product:?}, {environment}: {found:?}");
            assert!(good || names.len() == stages.len(), "{product:?}, {environment}: {found:?}");
            let failed: Vec<_> = found.iter().filter(|(_, ok, _)| !ok).collect();
            assert_eq!(failed.len(), usize::from(!good), "{product:?}, {environment}: {found:?}");
            assert!(
                found.last().unwrap().2.contains(said),
                "{product:?}, {environment}: {found:?}"
            );
            assert!(!format!("{found:?}").contains("c4n4ry"), "{found:?}");
        }
    }
}

#[test]
fn a_good_server_tells_its_version_its_zone_and_what_can_be_done() {
    for (product, name) in [
        (Product::Postgres, "PostgreSQL"),
        (Product::Mariadb, "MariaDB"),
        (Product::Mysql, "MySQL"),
    ] {
        let workplace = Workplace::new();
        let database = Database::new(product, "");
        workplace.put("connections.toml", file(&database));
        let (_, found) = findings(&workplace, &["shop", "--env", "good"]);
        let detail = |stage: &str| {
            let found = found.iter().find(|(name, ..)| name == stage);
            found.unwrap_or_else(|| panic!("{product:?}: no `{stage}`: {found:?}")).2.clone()
        };
        let server = detail("server");
        assert!(server.contains(name) && server.contains("time zone"), "{server}");
        assert!(!detail("rights").is_empty() && !detail("writing: rights").is_empty());
        let bulk = match product {
            Product::Postgres => detail("snapshot").contains("all splits can share one snapshot"),
            _ => format!("{found:?}").contains("LOAD DATA LOCAL"),
        };
        assert!(bulk, "{product:?}: {found:?}");
    }
}

#[test]
fn connections_are_listed_without_their_options() {
    let workplace = Workplace::new();
    let text = "[a]\nplugin = \"sqlite\"\npath = \"a.db\"\n\
                [b.dev]\nplugin = \"postgres\"\nhost = \"h\"\npassword = \"c4n4ry\"\n\
                [b.prod]\nplugin = \"postgres\"\nhost = \"h\"\n";
    workplace.put("connections.toml", text);
    let ended = workplace.run(&["connection", "list", "--output", "json"]);
    let list: Value = serde_json::from_str(&ended.exits(0).stdout).unwrap();
    let of = |at: usize, key: &str| list[at][key].as_str().map(str::to_owned);
    assert_eq!(list.as_array().unwrap().len(), 3);
    assert_eq!((of(0, "name"), of(0, "environment")), (Some("a".into()), None));
    assert_eq!(
        (of(2, "environment"), of(2, "plugin")),
        (Some("prod".into()), Some("postgres".into()))
    );
    let ended = workplace.run(&["connection", "list"]);
    assert!(ended.exits(0).stdout.contains("prod") && !ended.stdout.contains("c4n4ry"));
}

#[test]
fn a_connection_that_cannot_be_meant_is_refused() {
    let workplace = Workplace::new();
    let text = "[a]\nhost = \"h\"\n[b.dev]\nplugin = \"sqlite\"\npath = \"x\"\n[b.prod]\nplugin = \"sqlite\"\n\
                [c]\nplugin = \"sqlite\"\npath = \"x\"\ntable = \"t\"\n[d]\nplugin = \"postgres\"\nhots = \"h\"\n";
    workplace.put("connections.toml", text);
    for (name, said) in [
        ("a", "does not name its plugin"),
        ("b", "several environments"),
        ("c", "does not belong in a connection"),
        ("d", "did you mean `host`?"),
        ("e", "unknown connection `e`"),
    ] {
        workplace.run(&["connection", "test", name]).exits(2).says(said);
    }
}

/// A connection file whose `lake` has an environment for every possible failure.
fn lake(bucket: &Bucket) -> String {
    let good = bucket.connection();
    let secret = bucket.secret.display();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let other = |endpoint: &str| good.replace(&bucket.endpoint, endpoint);
    let rest = bucket.endpoint.splitn(4, '/').nth(3).unwrap_or_default();
    let wrong_secret = "{ command = [\"echo\", \"YzRuNHJ5\"] }"; // Azure's must be Base64
    [
        ("good", good.clone()),
        ("key", good.replace(&format!("{{ file = \"{secret}\" }}"), wrong_secret)),
        ("bucket", good.replace("://transload/", "://no-such-bucket/")),
        ("name", other(&format!("https://no-such-host.invalid/{rest}"))),
        ("port", other(&format!("http://127.0.0.1:{closed}/{rest}"))),
        ("plain", other(&format!("http://192.0.2.1/{rest}"))),
        ("link-local", other(&format!("https://169.254.169.254/{rest}"))),
    ]
    .map(|(environment, lines)| {
        format!("[lake.{environment}]\n{lines}retries = 0\nconnect_timeout = \"2 s\"\n")
    })
    .concat()
}

#[test]
fn a_test_of_an_object_store_goes_stage_by_stage_too() {
    for bucket in [Bucket::s3(), Bucket::azure()] {
        let workplace = Workplace::new();
        workplace.put("connections.toml", lake(&bucket));
        bucket.put("x.csv", b"id\n1\n");
        for (environment, stage) in [
            ("good", ""),
            ("key", "login"),
            ("bucket", "bucket"),
            ("name", "name resolution"),
            ("port", "connection"),
        ] {
            let what = format!("{:?}, {environment}", bucket.kind);
            let (exit, found) = findings(&workplace, &["lake", "--env", environment]);
            let failed: Vec<_> = found.iter().filter(|(_, ok, _)| !ok).collect();
            let stages: Vec<_> = failed.iter().map(|(stage, ..)| stage.as_str()).collect();
            if environment == "good" {
                assert_eq!((exit, stages), (Some(0), vec![]), "{what}: {found:?}");
            } else {
                assert_eq!((exit, stages), (Some(5), vec![stage]), "{what}: {found:?}");
            }
            assert!(!format!("{found:?}").contains("YzRuNHJ5"), "{what}: {found:?}");
        }
    }
}

/// Refused before a byte is sent: plain text to other machines, and the clouds' metadata services.
#[test]
fn endpoints_that_must_not_be_spoken_to_are_refused() {
    let bucket = Bucket::s3();
    let workplace = Workplace::new();
    workplace.put("connections.toml", lake(&bucket));
    for (environment, said) in [("plain", "allow_http"), ("link-local", "169.254.169.254")] {
        let ended = workplace.run(&["connection", "test", "lake", "--env", environment]);
        assert!(matches!(ended.exit, Some(2 | 5)), "{environment}: {ended:?}");
        let told = ended.stdout.clone() + &ended.stderr;
        assert!(told.contains(said), "{environment}: {ended:?}");
    }
}
