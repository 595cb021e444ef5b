//! `import`: documents of other tools become jobs that are valid, and that copy the same rows.
//!
//! `tests/imports` has documents and the files that they become. After a change of what is written:
//! `TRANSLOAD_WRITE_IMPORTS=1 cargo test -p transload-tests --test importing`, then look at the difference.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};
use transload_tests::{
    Ended, Workplace,
    servers::{Database, Product},
};
use transload_tests_buckets::{Bucket, Kind};
use transload_tests_s3::{BUCKET, KEY};

/// The documents, as they are in the repository.
fn documents() -> Workplace {
    Workplace::copy_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("imports"))
}

/// The texts of all files of a folder.
fn texts(folder: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeMap::new() };
    let file = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, fs::read_to_string(entry.path()).unwrap())
    };
    entries.map(|entry| file(entry.unwrap())).collect()
}

/// Imports the documents of a tool, and compares what is written with what is expected.
fn assert_imported(tool: &str, more: &[&str]) -> Value {
    let workplace = documents();
    let arguments = ["import", tool, tool, "--out", "out", "--output", "json"];
    let ended = workplace.run(&[&arguments[..], more].concat());
    let found = texts(&workplace.path().join("out"));
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("imports/expected").join(tool);
    if std::env::var_os("TRANSLOAD_WRITE_IMPORTS").is_some() {
        let _ = fs::remove_dir_all(&expected);
        fs::create_dir_all(&expected).unwrap();
        found.iter().for_each(|(name, text)| fs::write(expected.join(name), text).unwrap());
    }
    let expected = texts(&expected);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, text) in &found {
        assert_eq!(*text, expected[name], "{tool}: {name}");
    }
    ended.exits(2);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// The status of each document, by the name of its file.
fn statuses(report: &Value) -> BTreeMap<String, String> {
    let status = |document: &Value| {
        let file = document["file"].as_str().unwrap();
        let name = file.rsplit('/').next().unwrap().to_owned();
        (name, document["status"].as_str().unwrap().to_owned())
    };
    report["documents"].as_array().unwrap().iter().map(status).collect()
}

/// Writes a document and imports it alone.
fn import(workplace: &Workplace, document: &Value, more: &[&str]) -> Ended {
    workplace.put("job.json", document.to_string());
    workplace.run(&[&["import", "datax", "job.json"], more].concat())
}

/// A document with a limit of no dirty row.
fn datax(reader: Value, writer: Value) -> Value {
    let setting = json!({"speed": {"channel": 2}, "errorLimit": {"record": 0}});
    json!({"job": {"setting": setting, "content": [{"reader": reader, "writer": writer}]}})
}

#[test]
fn documents_of_datax_become_these_jobs() {
    let report = assert_imported("datax", &[]);
    let refused: Vec<_> = statuses(&report)
        .into_iter()
        .filter(|(_, status)| status == "refused")
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        refused,
        [
            "06_several_servers.json",
            "24_oracle.json",
            "25_transformers.json",
            "27_column_count.json",
            "30_session.json",
            "32_other_databases.json",
            "33_constant_in_file.json",
            "35_sql_in_file.json",
            "36_broken.json",
        ]
    );
    assert_eq!(report["counts"]["unfinished"], 2, "{report}");
}

#[test]
fn scripts_of_dataworks_become_these_jobs() {
    let report = assert_imported("dataworks", &[]);
    assert_eq!(report["blank"], json!(["report_mysql", "shop_mysql", "dw_pg", "landing"]));
    let refused = statuses(&report);
    assert_eq!(
        (&*refused["to_maxcompute.json"], &*refused["real_time.json"]),
        ("refused", "refused")
    );
}

#[test]
fn replications_of_sling_become_these_jobs() {
    let report = assert_imported("sling", &["--env-file", "sling/env.txt"]);
    let statuses = statuses(&report);
    for (name, status) in [
        ("nightly.yaml", "imported"),
        ("files.yaml", "imported"),
        ("schema.yaml", "imported"),
        ("refused.yaml", "refused"),
        ("unknown.yaml", "refused"),
    ] {
        assert_eq!(statuses[name], status, "{name}");
    }
}

#[test]
fn commands_of_pgloader_become_these_jobs() {
    let report = assert_imported("pgloader", &[]);
    let statuses = statuses(&report);
    assert_eq!((&*statuses["sakila.load"], &*statuses["csv.load"]), ("imported", "imported"));
    assert_eq!((&*statuses["whole.load"], &*statuses["refused.load"]), ("imported", "refused"));
}

#[test]
fn no_password_is_written_or_printed() {
    let workplace = documents();
    let mut all = Vec::new();
    for arguments in [
        &["datax", "datax"][..],
        &["sling", "sling", "--env-file", "sling/env.txt"],
        &["pgloader", "pgloader"],
    ] {
        let ended = workplace.run(&[&["import"], arguments, &["--out", "out"]].concat());
        all.extend([ended.stdout, ended.stderr]);
    }
    all.extend(texts(&workplace.path().join("out")).into_values());
    for text in &all {
        for secret in [
            "Reader#2024",
            "Loader#2024",
            "geo!",
            "never-printed",
            "bGV0IG1lIGlu",
            "Sling#",
            "Load#",
        ] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
    assert!(all.iter().any(|text| text.contains("password = { env = \"LIBRARY_PASSWORD\" }")));
}

#[test]
fn jobs_that_were_imported_pass_the_check() {
    let workplace = documents();
    workplace.run(&["import", "datax", "datax", "--out", "out"]);
    for (job, params) in [
        ("01_mysql_to_mysql", &[][..]),
        ("17_parameters", &["user", "start", "end", "ids", "month", "host", "db"]),
        ("34_text_to_text", &[]),
    ] {
        let mut arguments = vec!["check".to_owned(), format!("out/{job}.toml")];
        for name in params {
            arguments.extend(["--param".to_owned(), format!("{name}=1")]);
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        workplace.run(&arguments).exits(0);
    }
}

#[test]
fn the_report_names_every_place() {
    let workplace = Workplace::new();
    workplace.put("in/broken.json", "{\"job\": {\n  \"content\": [}\n");
    workplace.put("in/package.json", "{\"name\": \"x\"}");
    let reader = json!({"name": "mysqlreader", "parameter": {
        "username": "r", "password": "r", "column": ["id"], "spiltPk": "id",
        "connection": [{"table": ["a"], "jdbcUrl": ["jdbc:mysql://h:3306/app"]}]}});
    let oracle = json!({"name": "oraclewriter", "parameter": {}});
    workplace.put("in/sub/oracle.json", datax(reader.clone(), oracle).to_string());
    let print = json!({"name": "streamwriter", "parameter": {"print": false}});
    workplace.put("in/sub/typo.json", datax(reader, print).to_string());
    let ended = workplace.run(&["import", "datax", "in", "--out", "out", "--width", "80"]);
    ended.exits(2);
    assert_eq!(
        ended.stdout,
        "\
document                      job                choices  to do  refused
in/broken.json      refused                                            1
in/package.json     skipped
in/sub/oracle.json  refused                            1               1
in/sub/typo.json    imported  out/sub-typo.toml        1

in/broken.json
     2:15  refused [IMPORT-SYNTAX]: expected a value, found `}`

in/sub/oracle.json
     1:214 refused [IMPORT-PLUGIN]: `job.content[0].writer`: there is no plugin
      for `oraclewriter`
      `transload plugin list` shows the plugins that there are

in/sub/typo.json
     1:95  kept zero-dates: `job.content[0].reader.parameter.connection[0]`:
      zero dates such as 0000-00-00 became NULL, by a parameter that DataX adds
      to the address
      to repair it: leave `zero_dates` out in [reader]
     1:165 no effect: `job.content[0].reader.parameter.spiltPk`: `mysqlreader`
      has no key `spiltPk`, and took no notice of it
      did you mean `splitPk`?

Set these variables, or replace the references in connections.toml:
  APP_PASSWORD  for `app`

1 of 3 documents imported without manual work (33 %), 0 to be finished, 2
    refused; other files skipped: 1
report: out/import-datax.md
"
    );
    assert!(!workplace.read("out/connections.toml").contains("[app-2]"), "of a refused document");
}

#[test]
fn nothing_is_replaced_unless_asked_for() {
    let workplace = documents();
    let one = ["import", "datax", "datax/01_mysql_to_mysql.json"];
    workplace.run(&one).exits(0);
    let connections = workplace.read("connections.toml");
    workplace.put("01_mysql_to_mysql.toml", "# mine");
    let ended = workplace.run(&one);
    ended.exits(2);
    assert!(ended.stdout.contains("[IMPORT-EXISTS]"), "{ended:?}");
    assert_eq!(workplace.read("01_mysql_to_mysql.toml"), "# mine");
    workplace.run(&[&one[..], &["--force"]].concat()).exits(0);
    assert!(workplace.read("01_mysql_to_mysql.toml").contains("[reader]"));
    assert_eq!(workplace.read("connections.toml"), connections, "they are there already");
    // Another database of the same name is another connection, which is added.
    let other = workplace.read("datax/01_mysql_to_mysql.json").replace("10.20.0.11", "10.20.0.99");
    workplace.put("other.json", other);
    workplace.run(&["import", "datax", "other.json"]).exits(0);
    let added = workplace.read("connections.toml");
    assert!(added.starts_with(&connections) && added.contains("[library-2]"), "{added}");
    assert!(workplace.read("other.toml").contains("connection = \"library-2\""));
}

#[test]
fn each_choice_is_kept_or_repaired() {
    for (choice, document, kept, repaired) in [
        ("dirty-limit", "03_query_sql", "max_rows = \"unlimited\"", "max_rows = 0"),
        ("dirty-ratio", "01_mysql_to_mysql", "# dirty-ratio kept", "max_ratio = 0.02"),
        ("empty-cells", "11_oss_to_postgres", "null = '\\N'", "null = \"\"\n"),
        ("null-text", "09_mysql_to_text", "null = \"null\"", "null = '\\N'"),
        ("parallelism", "19_limits_with_core", "parallelism = 4", "parallelism = 10"),
        ("plain-http", "11_oss_to_postgres", "allow_http = true", "endpoint = \"https://oss"),
        ("plain-text", "09_mysql_to_text", "quote = \"\"", "csv\"\ndelimiter"),
        ("truncate-first", "01_mysql_to_mysql", "before = [", "write_mode = \"overwrite\""),
        ("without-tls", "02_comments_and_commas", "tls = \"disable\"", "user = \"ro\""),
        ("zero-dates", "01_mysql_to_mysql", "zero_dates = \"null\"", "[reader]"),
    ] {
        let written = |flag: &str| {
            let workplace = documents();
            let file = format!("datax/{document}.json");
            workplace.run(&["import", "datax", &file, flag]).exits(0);
            workplace.read(&format!("{document}.toml")) + &workplace.read("connections.toml")
        };
        let lines = |text: &str| {
            let lines = text
                .lines()
                .filter(|line| !line.starts_with("# kept ") && !line.starts_with("# repaired "));
            lines.map(|line| format!("{line}\n")).collect::<String>()
        };
        let (as_it_was, mended) =
            (lines(&written("--keep")), lines(&written(&format!("--repair={choice}"))));
        assert!(as_it_was.contains(kept), "{choice}: {as_it_was}");
        assert!(mended.contains(repaired) && !mended.contains(kept), "{choice}: {mended}");
    }
    let workplace = documents();
    workplace.run(&["import", "datax", "datax/29_two_contents.json", "--repair=content"]).exits(0);
    assert!(workplace.read("29_two_contents-2.toml").contains("table = \"b2\""));
    let ended = workplace.run(&["import", "datax", "datax", "--repair=zero"]);
    ended.exits(2);
    assert!(ended.stderr.contains("zero-dates"), "{ended:?}");
}

/// The address of a test's database as DataX writes it, with its login.
fn jdbc(database: &Database) -> (String, String, String) {
    let server = &database.server;
    let (user, password) = server.login();
    let (scheme, more) = match server.product {
        Product::Postgres => ("postgresql", "?sslmode=disable"),
        _ => ("mysql", "?useSSL=false&allowPublicKeyRetrieval=true"),
    };
    let url = format!("jdbc:{scheme}://{}:{}/{}{more}", server.host, server.port, database.name);
    (url, user.to_owned(), password.to_owned())
}

fn table_reader(database: &Database, table: &str, more: Value) -> Value {
    let (url, user, password) = jdbc(database);
    let name = format!(
        "{}reader",
        if database.server.product == Product::Postgres { "postgresql" } else { "mysql" }
    );
    let connection = json!([{"table": [table], "jdbcUrl": [url]}]);
    let mut parameter = json!({"username": user, "password": password, "connection": connection});
    parameter.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"name": name, "parameter": parameter})
}

fn table_writer(database: &Database, table: &str, more: Value) -> Value {
    let mut writer = table_reader(database, table, more);
    writer["name"] = writer["name"].as_str().unwrap().replace("reader", "writer").into();
    let url = writer["parameter"]["connection"][0]["jdbcUrl"][0].take();
    writer["parameter"]["connection"][0]["jdbcUrl"] = url;
    writer
}

/// Imports a document, sets its variables, and runs the job.
fn run(document: &Value, secrets: &[(&str, &str)], params: &[&str]) -> Workplace {
    let workplace = Workplace::new();
    run_in(&workplace, document, secrets, params);
    workplace
}

fn run_in(workplace: &Workplace, document: &Value, secrets: &[(&str, &str)], params: &[&str]) {
    let ended = import(workplace, document, &["--force", "--output", "json"]);
    ended.exits(0);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let mut command = workplace.command();
    command.args(["run", "job.toml", "--output", "json"]);
    for param in params {
        command.args(["--param", param]);
    }
    for variable in report["variables"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        let (_, secret) =
            secrets.iter().find(|(part, _)| name.contains(&part.to_uppercase())).unwrap();
        command.env(name, secret);
    }
    let ended = Ended::from(command.output().unwrap());
    assert_eq!(ended.exit, Some(0), "{}{}", workplace.read("job.toml"), ended.stderr);
}

#[test]
fn a_table_of_mysql_arrives_in_postgres() {
    let from = Database::new(
        Product::Mysql,
        "CREATE TABLE t (id INT PRIMARY KEY, `order` VARCHAR(9), at DATETIME(6), day DATE, skip INT);
         INSERT INTO t VALUES (1, 'a', '2024-02-29 01:02:03.456789', '2024-01-01', 1),
                              (2, '', NULL, '2024-01-02', 2), (3, 'c', NULL, '2023-01-01', 3);",
    );
    let into = Database::new(
        Product::Postgres,
        "CREATE TABLE u (id INT PRIMARY KEY, no TEXT, source TEXT, at TIMESTAMP, twice INT);
         INSERT INTO u VALUES (9, 'old');",
    );
    let document = datax(
        table_reader(
            &from,
            "t",
            json!({
            "column": ["id", "`order`", "'shop'", "at", "id * 2"],
            "splitPk": "id", "where": "day >= '${start}';"}),
        ),
        table_writer(
            &into,
            "u",
            json!({
            "column": ["id", "no", "source", "at", "twice"],
            "preSql": ["truncate table @table"], "postSql": ["update @table set no = 'b' where id = 2"]}),
        ),
    );
    let (from_secret, into_secret) = (jdbc(&from).2, jdbc(&into).2);
    let secrets = [(from.name.as_str(), from_secret.as_str()), (&into.name, &into_secret)];
    run(&document, &secrets, &["start=2024-01-01"]);
    let rows = into.lines("SELECT id, no, source, at, twice FROM u ORDER BY id");
    assert_eq!(rows, ["1|a|shop|2024-02-29 01:02:03.456789|2", "2|b|shop||4"]);
}

#[test]
fn columns_go_by_their_positions_as_before() {
    let from = Database::new(
        Product::Postgres,
        "CREATE TABLE \"T\" (id INT PRIMARY KEY, a TEXT, b TEXT, \"Mixed\" INT);
         INSERT INTO \"T\" VALUES (1, 'a', 'b', 7);",
    );
    let into = Database::new(
        Product::Mysql,
        "CREATE TABLE u (id INT PRIMARY KEY, a VARCHAR(9), b VARCHAR(9), m INT, kept INT DEFAULT 5);
         INSERT INTO u VALUES (1, 'x', 'y', 0, 6);",
    );
    let document = datax(
        table_reader(&from, "\"T\"", json!({"column": ["ID", "b", "a", "\"Mixed\""]})),
        table_writer(&into, "u", json!({"column": ["id", "a", "b", "m"], "writeMode": "update"})),
    );
    let (from_secret, into_secret) = (jdbc(&from).2, jdbc(&into).2);
    let secrets = [(from.name.as_str(), from_secret.as_str()), (&into.name, &into_secret)];
    run(&document, &secrets, &[]);
    assert_eq!(into.lines("SELECT * FROM u"), ["1|b|a|7|6"]);
}

#[test]
fn files_arrive_in_mysql_and_come_back() {
    let database = Database::new(
        Product::Mysql,
        "CREATE TABLE p (id INT PRIMARY KEY, name VARCHAR(20), born DATE, city VARCHAR(20));",
    );
    let workplace = Workplace::new();
    workplace.put("in/a.csv", "no,born,name,x\n1,1970/01/31,\"a,b\",\\N\n2,,,y\n");
    let place = |name: &str| workplace.path().join(name).display().to_string();
    let column = |index: u32, kind: &str, format: Option<&str>| json!({"index": index, "type": kind, "format": format});
    let reader = json!({"name": "txtfilereader", "parameter": {
        "path": [place("in/*.csv")], "skipHeader": true, "nullFormat": "",
        "column": [column(0, "long", None), column(2, "string", None), column(1, "date", Some("yyyy/MM/dd")),
                   column(3, "string", None)]}});
    let document = datax(
        reader,
        table_writer(&database, "p", json!({"column": ["id", "name", "born", "city"]})),
    );
    let secret = jdbc(&database).2;
    let secrets = [(database.name.as_str(), secret.as_str())];
    run_in(&workplace, &document, &secrets, &[]);
    let rows = database.lines("SELECT id, name, born, city FROM p ORDER BY id");
    assert_eq!(rows, ["1|a,b|1970-01-31|\\\\N", "2|NULL|NULL|y"], "the client doubles it");

    // Back as plain text, as DataX wrote it.
    let writer = json!({"name": "txtfilewriter", "parameter": {
        "path": place("out"), "fileName": "p", "writeMode": "truncate", "fieldDelimiter": "|"}});
    let reader = table_reader(&database, "p", json!({"column": ["id", "name", "born", "city"]}));
    run_in(&workplace, &datax(reader, writer), &secrets, &[]);
    assert_eq!(workplace.read("out/p"), "1|a,b|1970-01-31|\\N\n2|null|null|y\n");
}

#[test]
fn a_generated_source_is_written_and_printed() {
    let columns = json!([{"value": "x", "type": "string"}, {"value": 7, "type": "long"},
                         {"value": "2020-01-02", "type": "date"}]);
    let reader =
        json!({"name": "streamreader", "parameter": {"column": columns, "sliceRecordCount": 2}});
    let document = datax(reader, json!({"name": "streamwriter", "parameter": {"print": true}}));
    let workplace = Workplace::new();
    import(&workplace, &document, &[]).exits(0);
    let ended = workplace.run(&["run", "job.toml"]);
    ended.exits(0);
    assert_eq!(ended.stdout, "x\t7\t2020-01-02\n".repeat(4), "two channels");
}

#[test]
fn objects_arrive_in_postgres() {
    let bucket = Bucket::new(Kind::S3);
    bucket.put("in/a.csv", b"1;x\n2;y\n");
    let database = Database::new(Product::Postgres, "CREATE TABLE o (id INT PRIMARY KEY, v TEXT);");
    let secret = fs::read_to_string(&bucket.secret).unwrap();
    let object_key = secret.trim_end();
    let reader = json!({"name": "ossreader", "parameter": {
        "endpoint": bucket.endpoint, "accessId": KEY, "accessKey": object_key, "bucket": BUCKET,
        "object": [format!("{}/in/*.csv", bucket.prefix)], "fieldDelimiter": ";",
        "column": [{"index": 0, "type": "long"}, {"index": 1, "type": "string"}]}});
    let document = datax(reader, table_writer(&database, "o", json!({"column": ["id", "v"]})));
    let password = jdbc(&database).2;
    let secrets = [("secret_access_key", object_key), (&database.name, &password)];
    run(&document, &secrets, &[]);
    assert_eq!(database.lines("SELECT id, v FROM o ORDER BY id"), ["1|x", "2|y"]);
}

#[test]
fn a_replication_copies_its_streams() {
    let workplace = Workplace::new();
    let place = workplace.path().display().to_string();
    workplace.execute(
        "shop.db",
        "CREATE TABLE a (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO a VALUES (1, 'new'), (2, 'b');",
    );
    workplace.execute(
        "dw.db",
        "CREATE TABLE b (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO b VALUES (1, 'old'), (9, 'c');",
    );
    workplace.put(
        "r.yaml",
        format!(
            "source: sqlite://{place}/shop.db\ntarget: sqlite://{place}/dw.db\n\
             defaults: {{object: '{{stream_name}}', mode: full-refresh}}\nstreams:\n  \
             a: {{object: b, mode: incremental, primary_key: id, update_key: id}}\n  \
             q: {{sql: 'select v, id * 10 as ten from a'}}\n"
        ),
    );
    workplace.run(&["import", "sling", "r.yaml"]).exits(0);
    for job in ["r-a.toml", "r-q.toml"] {
        workplace.run(&["run", job]).exits(0);
    }
    let rows = workplace.sqlite("dw.db", "SELECT id || v FROM b ORDER BY id");
    assert_eq!(rows, ["'1new'", "'2b'", "'9c'"]);
    assert_eq!(
        workplace.sqlite("dw.db", "SELECT v || ten FROM q ORDER BY ten"),
        ["'new10'", "'b20'"]
    );
}

#[test]
fn a_command_of_pgloader_loads_its_file() {
    let database = Database::new(
        Product::Postgres,
        "CREATE TABLE t (id INT, name TEXT, n INT); INSERT INTO t VALUES (9, 'old', 9);",
    );
    let workplace = Workplace::new();
    let file = workplace.put("a.csv", "first\nsecond\n1;'x;y';\n2;;7\n");
    let (user, password) = database.server.login();
    let Database { server, name, .. } = &database;
    workplace.put(
        "a.load",
        format!(
            "LOAD CSV FROM '{}' (id, name, n [null if blanks])
             INTO postgresql://{user}:{password}@{}:{}/{name}?sslmode=disable
             TARGET TABLE public.t TARGET COLUMNS (n, id, name)
             WITH truncate, skip header = 2, fields terminated by ';',
                  fields optionally enclosed by '\\''
             AFTER LOAD DO $$ update t set n = -1 where n is null $$;",
            file.display(),
            server.host,
            server.port
        )
        .replace("'\\''", "'0x27'"),
    );
    let ended = workplace.run(&["import", "pgloader", "a.load", "--output", "json"]);
    ended.exits(0);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let variable = report["variables"][0]["name"].as_str().unwrap();
    let mut command = workplace.command();
    let ended =
        Ended::from(command.args(["run", "a.toml"]).env(variable, password).output().unwrap());
    ended.exits(0);
    assert_eq!(database.lines("SELECT id, name, n FROM t ORDER BY id"), ["1|x;y|-1", "2||7"]);
}
