//! Connections under TLS, and logins, on both servers.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
};

use serde_json::Value;
use support::{Fixture, Server};
use transload_plugin_api::{Error, ErrorKind, Options, Plugin, Result};
use transload_plugin_mysql::MysqlPlugin;

const TABLE: &str = "CREATE TABLE t(id INT PRIMARY KEY); INSERT INTO t VALUES (1);";

fn servers() -> [Server; 2] {
    [Server::mariadb(), Server::mysql()]
}

/// The folder of the server's certificates, see `tests/servers/certificates`.
fn certificates(fixture: &Fixture) -> PathBuf {
    let file = fixture.lines("SELECT @@ssl_ca").remove(0);
    Path::new(&file).parent().expect("a server with a CA file").to_owned()
}

fn options(fixture: &Fixture, pairs: &[(&str, &str)]) -> Options {
    let mut options = fixture.options(&[("table", "t")]);
    for (key, value) in pairs {
        options.values.insert((*key).to_owned(), (*value).into());
    }
    options
}

/// Reads the table's columns over a connection with these options.
fn connect(fixture: &Fixture, pairs: &[(&str, &str)]) -> Result<usize> {
    let reader = MysqlPlugin.reader(options(fixture, pairs), fixture.host())?;
    reader.schema().map(|schema| schema.columns.len())
}

fn refused(fixture: &Fixture, pairs: &[(&str, &str)]) -> Error {
    connect(fixture, pairs).expect_err(&format!("{pairs:?}"))
}

#[test]
fn a_server_is_verified_as_the_job_says() {
    for server in servers() {
        let fixture = Fixture::new(&server, TABLE);
        let file = certificates(&fixture).join("ca.crt");
        let ca = file.to_str().unwrap();
        let other = certificates(&fixture).join("client.crt");
        let other = other.to_str().unwrap();
        for pairs in [
            &[("tls", "verify-full"), ("ca_file", ca), ("host", "localhost")][..],
            &[("tls", "verify-ca"), ("ca_file", ca), ("host", "127.0.0.1")],
            &[("tls", "insecure-require"), ("host", "127.0.0.1")],
            &[("tls", "disable")],
        ] {
            assert_eq!(connect(&fixture, pairs), Ok(1), "{pairs:?}");
        }
        for (pairs, word) in [
            (&[("tls", "verify-full"), ("ca_file", ca), ("host", "127.0.0.1")][..], "name"),
            (&[("tls", "verify-full"), ("ca_file", other), ("host", "localhost")], "certificate"),
            (&[("tls", "verify-ca"), ("ca_file", other)], "certificate"),
        ] {
            let error = refused(&fixture, pairs);
            assert_eq!(error.kind, ErrorKind::Connection, "{pairs:?}: {error}");
            assert!(error.message.contains(word), "{pairs:?}: {error}");
        }
        let error = refused(&fixture, &[("tls", "verify-full"), ("ca_file", "/nonexistent")]);
        assert_eq!(error.kind, ErrorKind::Options, "{error}");
    }
}

#[test]
fn a_client_shows_its_certificate() {
    for server in servers() {
        let fixture = Fixture::new(&server, TABLE);
        let folder = certificates(&fixture);
        let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let user = format!("x509_{}", fixture.database);
        fixture.run(&format!(
            "CREATE USER {user}@'%' IDENTIFIED BY '' REQUIRE X509;
             GRANT ALL ON {}.* TO {user}@'%';",
            fixture.database
        ));
        let ca = file("ca.crt");
        let (certificate, key) = (file("client.crt"), file("client.key"));
        let base = [("user", user.as_str()), ("tls", "verify-ca"), ("ca_file", ca.as_str())];
        let own = [("client_certificate", certificate.as_str()), ("client_key", key.as_str())];
        let with = [&base[..], &own[..]].concat();
        let connected = no_password(&fixture, &with);
        let without = no_password(&fixture, &base);
        fixture.run(&format!("DROP USER {user}@'%'"));
        assert_eq!(connected, Ok(1));
        assert_eq!(without.unwrap_err().kind, ErrorKind::Connection);
    }
}

fn no_password(fixture: &Fixture, pairs: &[(&str, &str)]) -> Result<usize> {
    let host = transload_plugin_api::Host::detached();
    let reader = MysqlPlugin.reader(options(fixture, pairs), host)?;
    reader.schema().map(|schema| schema.columns.len())
}

/// Connects right after the server's cache of passwords was emptied.
fn connect_uncached(fixture: &Fixture, more: &[(&str, Value)]) -> Result<usize> {
    let mut options = options(fixture, &[]);
    options.values.remove("allow_public_key_retrieval");
    for (key, value) in more {
        options.values.insert((*key).to_owned(), value.clone());
    }
    fixture.run("FLUSH PRIVILEGES");
    let reader = MysqlPlugin.reader(options, fixture.host())?;
    reader.schema().map(|schema| schema.columns.len())
}

#[test]
fn without_tls_the_full_login_needs_a_key_that_is_known() {
    let fixture = Fixture::new(&Server::mysql(), TABLE);
    let key = fixture.lines("SHOW STATUS LIKE 'Caching_sha2_password_rsa_public_key'").remove(0);
    let (_, key) = key.split_once('\t').unwrap();
    let file = std::env::temp_dir().join(format!("{}.pem", fixture.database));
    // The client escapes line ends.
    std::fs::write(&file, key.replace("\\n", "\n")).unwrap();
    let socket = fixture.lines("SELECT @@socket").remove(0);
    let refused = connect_uncached(&fixture, &[]);
    let permitted = [
        connect_uncached(&fixture, &[("tls", "insecure-require".into())]),
        connect_uncached(&fixture, &[("allow_public_key_retrieval", true.into())]),
        connect_uncached(&fixture, &[("server_public_key", file.to_str().unwrap().into())]),
        connect_uncached(&fixture, &[("host", socket.into())]),
    ];
    std::fs::remove_file(&file).unwrap();
    let error = refused.unwrap_err();
    assert_eq!((error.kind, &*error.code), (ErrorKind::Connection, "MYSQL-PUBLIC-KEY"), "{error}");
    for connected in permitted {
        assert_eq!(connected, Ok(1));
    }
    // The cache is filled again: a proof will do.
    let mut options = options(&fixture, &[]);
    options.values.remove("allow_public_key_retrieval");
    assert!(MysqlPlugin.reader(options, fixture.host()).unwrap().schema().is_ok());
}

#[test]
fn a_unix_socket_is_connected() {
    for server in servers() {
        let fixture = Fixture::new(&server, TABLE);
        let socket = fixture.lines("SELECT @@socket").remove(0);
        assert_eq!(connect(&fixture, &[("host", &socket)]), Ok(1));
        let findings = MysqlPlugin
            .reader(options(&fixture, &[("host", "/nonexistent/mysqld.sock")]), fixture.host())
            .unwrap()
            .check()
            .unwrap();
        assert_eq!((findings[0].stage.as_str(), findings[0].ok), ("socket", false));
        assert!(findings[0].detail.contains("No such file"), "{}", findings[0].detail);
    }
}

/// A server that reports that it has no TLS receives nothing.
#[test]
fn nothing_falls_back_to_plain_text() {
    for mode in ["verify-full", "verify-ca", "insecure-require"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut greeting = vec![10];
            greeting.extend_from_slice(b"8.0.0\0\x01\0\0\0saltsalt\0");
            greeting.extend_from_slice(&[0xFF, 0xF7, 45, 2, 0, 0xFF, 0xFF, 21]); // all capabilities except TLS
            greeting.extend_from_slice(&[0; 10]);
            greeting.extend_from_slice(b"saltsaltsalt\0caching_sha2_password\0");
            let head = [greeting.len() as u8, 0, 0, 0];
            stream.write_all(&head).unwrap();
            stream.write_all(&greeting).unwrap();
            let mut sent = Vec::new();
            stream.read_to_end(&mut sent).unwrap();
            sent
        });
        let mut options = Options::from_pairs(
            [("host", "127.0.0.1"), ("user", "u"), ("database", "d"), ("table", "t")]
                .into_iter()
                .chain([("tls", mode)]),
        );
        options.values.insert("port".into(), port.parse::<u16>().unwrap().into());
        let host = transload_plugin_api::Host::detached();
        let error = MysqlPlugin.reader(options, host).unwrap().schema().unwrap_err();
        assert!(error.kind == ErrorKind::Connection && error.message.contains("no TLS"), "{error}");
        assert_eq!(server.join().unwrap(), b"", "{mode}");
    }
}
