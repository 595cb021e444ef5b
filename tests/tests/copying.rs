//! `copy`, `preview` and `new`: one line names source and target; the job file that says the same does
//! the same; mistakes are refused at their character, with a hint that works.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use transload_tests::{Ended, Workplace, sample_folder, servers::Product};

const ROWS: &str = "id,customer,amount\n1,王伟,12.50\n2,\"O\"\"Neil, Ann\",3.00\n3,,7.25\n";

const CONNECTIONS: &str = "[shop]\nplugin = \"sqlite\"\npath = \"shop.db\"\n\
     [lake]\nplugin = \"sqlite\"\npath = \"lake.db\"\n";

/// A folder with the rows in a file and in a table, and a connection `shop` for its database.
fn shop() -> Workplace {
    let workplace = Workplace::new();
    workplace.put("orders.csv", ROWS);
    workplace.put("connections.toml", CONNECTIONS);
    workplace.execute(
        "shop.db",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, amount DECIMAL_TEXT(10,2)); \
         INSERT INTO orders VALUES (1, '王伟', '12.50'), (2, 'O\"Neil, Ann', '3.00'), \
         (3, NULL, '7.25')",
    );
    workplace
}

/// Runs the command with this on its standard input.
fn fed(mut command: Command, input: &'static str) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeding = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let ended = Ended::from(child.wait_with_output().unwrap());
    feeding.join().unwrap();
    ended
}

fn copy(workplace: &Workplace, arguments: &[&str]) -> Ended {
    let mut command = workplace.command();
    command.arg("copy").args(arguments).args(["--progress", "none"]);
    fed(command, ROWS)
}

/// The rows of a source, as a preview has them.
fn rows(workplace: &Workplace, from: &str) -> Value {
    let ended = workplace.run(&["preview", from, "--json"]);
    let preview: Value = serde_json::from_str(&ended.exits(0).stdout).unwrap();
    assert_eq!(preview["more"], false);
    preview["rows"].clone()
}

/// JSON that a command prints.
fn json(workplace: &Workplace, arguments: &[&str]) -> Value {
    let ended = workplace.run(&[arguments, &["--output", "json"]].concat());
    serde_json::from_str(&ended.exits(0).stdout)
        .unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[test]
fn every_word_for_a_source_goes_to_every_word_for_a_target() {
    let workplace = shop();
    workplace.put("plain.txt", ROWS);
    workplace.run(&["copy", "orders.csv", "in.parquet", "-q"]).exits(0);
    workplace.run(&["copy", "orders.csv", "in.jsonl.gz", "-q"]).exits(0);
    let file = format!("file://{}/orders.csv", workplace.path().display());
    let sources: [&[&str]; 10] = [
        &["orders.csv"],
        &["i*.parquet"],
        &["in.jsonl.gz"],
        &["plain.txt", "--from-format", "csv"],
        &[&file],
        &["shop.db#orders"],
        &["sqlite:shop.db#orders"],
        &["sqlite:shop.db?table=orders"],
        &["shop:orders"],
        &["-"],
    ];
    let targets: [(&[&str], &str); 8] = [
        (&["out.csv"], "out.csv"),
        (&["out.jsonl"], "out.jsonl"),
        (&["out.parquet"], "out.parquet"),
        (&["out/", "--to-format", "csv"], "out/*.csv"),
        (&["out.db#t", "--create"], "out.db#t"),
        (&["sqlite:out.sqlite#t", "--create"], "out.sqlite#t"),
        (&["lake:t", "--create", "--key", "id"], "lake:t"),
        (&["-"], "kept.csv"),
    ];
    let expected = serde_json::json!([
        ["1", "王伟", "12.50"],
        ["2", "O\"Neil, Ann", "3.00"],
        ["3", null, "7.25"]
    ]);
    // Each source once, each target at least once.
    let pairs = (0..sources.len()).map(|n| (n, n * 3 % targets.len()));
    for (source, target) in pairs {
        let (source, (target, result)) = (sources[source], targets[target]);
        for name in ["out.csv", "out.jsonl", "out.parquet", "out.db", "out.sqlite", "lake.db"] {
            let _ = std::fs::remove_file(workplace.path().join(name));
        }
        let _ = std::fs::remove_dir_all(workplace.path().join("out"));
        let arguments = [&source[..1], &target[..1], &source[1..], &target[1..]].concat();
        let ended = copy(&workplace, &arguments);
        ended.exits(0);
        if target == ["-"] {
            workplace.put("kept.csv", &ended.stdout);
        } else {
            assert_eq!(ended.stdout, "", "{arguments:?}");
        }
        assert_eq!(rows(&workplace, result), expected, "{arguments:?}");
    }
}

#[test]
fn the_job_file_of_a_line_says_the_same() {
    let cases: [&[&str]; 7] = [
        &["orders.csv", "out.db#t", "--create", "--key", "id", "--mode", "upsert"],
        &["shop:orders", "out.csv", "--where", "amount > 5 and customer <> 'x\\y'"],
        &["shop.db#orders", "out.jsonl", "--columns", "id,amount", "--map", "sum=amount"],
        &["orders.csv", "out.parquet", "--type", "amount=decimal(12,4)", "--parallelism", "2"],
        &["orders.csv", "shop:t", "--create", "--max-dirty", "unlimited", "--name", "nightly"],
        &["generator:50?specs.id=int64&seed=7", "out.csv", "--to-option", "delimiter=;"],
        &["orders.csv", "shop:orders", "--mode", "upsert", "--key", "id", "--update", "amount"],
    ];
    for arguments in cases {
        let (line, file) = (shop(), shop());
        let text = file.run(&[&["copy"], arguments, &["--as-job"]].concat());
        file.put("job.toml", &text.exits(0).stdout);
        line.put("same.toml", &text.stdout);
        let plan = |arguments: &[&str]| {
            let mut plan = json(&line, arguments);
            // Each plan is of a run of its own; the text says what the file says.
            plan["write"].as_object_mut().unwrap().remove("run");
            for key in ["run", "inputs"] {
                plan.as_object_mut().unwrap().remove(key);
            }
            plan
        };
        let of_line = plan(&[&["copy"], arguments, &["--plan"]].concat());
        assert_eq!(of_line, plan(&["plan", "same.toml"]), "{arguments:?}");
        let of_line = json(&line, &[&["copy"], arguments].concat());
        let of_file = json(&file, &["run", "job.toml"]);
        assert_eq!(of_line["rows"], of_file["rows"], "{arguments:?}");
        assert_eq!(of_line["job"], of_file["job"]);
        if let Some(target) = ["out.csv", "out.jsonl"].iter().find(|name| arguments.contains(name))
        {
            assert_eq!(line.read(target), file.read(target));
        }
    }
}

/// What is wrong is named at its character, with what to type instead.
#[test]
fn mistakes_are_refused_at_their_character() {
    let workplace = shop();
    workplace.put("orders.cvs", ROWS);
    workplace.put("orders", ROWS);
    workplace.put("out.csv", "");
    let cases: [(&[&str], i32, &str); 23] = [
        (
            &["orders.csv", "postgers://u:secret@h/d?table=a"],
            2,
            "TO, character 1: [COPY-SCHEME] no plugin has a writer for the URL scheme\n    `postgers`\n  hint: did you mean `postgres`?\n",
        ),
        (
            &["sohp:orders", "x.csv"],
            2,
            "FROM, character 1: [COPY-SCHEME] `sohp` is neither a connection nor a URL scheme\n    with a reader\n  hint: did you mean `shop`?\n",
        ),
        (
            &["orders.cvs", "x.csv"],
            2,
            "FROM, character 8: [COPY-EXTENSION] no plugin has a reader for files `.cvs`\n  hint: did you mean `.csv`? Or name the format: --from-format csv\n",
        ),
        (
            &["orders", "x.csv"],
            2,
            "FROM, character 1: [COPY-EXTENSION] `orders` has no extension that shows its\n    format\n  hint: name the format, such as --from-format csv, or a connection: NAME:TABLE\n",
        ),
        (
            &["shop", "x.csv"],
            2,
            "FROM, character 1: [COPY-EXTENSION] `shop` has no extension that shows its\n    format\n  hint: for a table of this connection: shop:TABLE\n",
        ),
        (
            &["orders.csv", "shop:"],
            2,
            "TO, character 6: [COPY-OBJECT] it names no table\n  hint: write `shop:TABLE`\n",
        ),
        (
            &["orders.csv", "shop.db"],
            2,
            "TO, character 8: [COPY-OBJECT] it names no table\n  hint: write `shop.db#TABLE`\n",
        ),
        (
            &["orders.csv", "mysql://u:secret@h/d"],
            2,
            "TO, character 21: [COPY-OBJECT] it names no table\n  hint: the form is `mysql://<user>@<host>:3306/<database>?table=<table>`\n",
        ),
        (
            &["-", "-"],
            2,
            "TO, character 1: [COPY-STREAM] both FROM and TO are standard streams, and no\n    flag names a format\n  hint: convert with formats, such as --from-format csv --to-format jsonl\n",
        ),
        (&["", "x.csv"], 2, "FROM: [COPY-NAME] the name is empty\n"),
        (
            &["orders.csv", "postgres://u:secret@h:port/d?table=a"],
            2,
            "TO, character 23: [COPY-URL] the port is not a number from 1 to 65535\n  hint: the form is `postgres://<user>@<host>:5432/<database>?table=<table>`\n",
        ),
        (
            &["orders.csv", "postgres://u:secret@h/d?tabel=a"],
            2,
            "TO, character 25: [COPY-OPTION] the writer of plugin `postgres` has no option\n    `tabel`\n  hint: did you mean `table`?\n",
        ),
        (
            &["orders.csv", "postgres://u:secret@h/d?table=a#b"],
            2,
            "TO, character 25: [COPY-OPTION] `table` is given twice\n  hint: the other one is in TO, character 33\n",
        ),
        (
            &["orders.csv", "postgres://u:secret@h/d?table=a&sslmode=prefer"],
            2,
            "TO, character 33: [COPY-URL] `sslmode` must be one of disable, require,\n    verify-ca, verify-full\n  hint: or as the option itself: `tls=...`, see\n      `transload plugin info postgres tls`\n",
        ),
        (
            &["sqlite://shop.db#orders", "x.csv"],
            2,
            "FROM, character 10: [COPY-URL] a path of this machine begins behind `//`\n  hint: write a relative path as `sqlite:PATH`, an absolute one as\n      `sqlite:///PATH`\n",
        ),
        (
            &["orders.csv", "shop:orders", "--where", "id > 1"],
            2,
            "--where: [COPY-OPTION] plugin `file` selects no rows by a condition\n  hint: leave --where out: readers of databases have it\n",
        ),
        (
            &["orders.csv", "x.csv", "--from-option", "delimeter=;"],
            2,
            "--from-option: [COPY-OPTION] the reader of plugin `file` has no option\n    `delimeter`\n  hint: did you mean `delimiter`?\n",
        ),
        (
            &["orders.csv", "shop:orders", "--mode", "upsrt"],
            2,
            "--mode: `write_mode` must be one of `insert`, `ignore`, `upsert`, `replace`,\n    `overwrite`, found `upsrt`\n  hint: did you mean `upsert`?\n",
        ),
        (
            &["orders.csv", "shop:orders", "--columns", "id,amuont"],
            6,
            "error: [PLAN-COLUMN] --columns: the source has no column `amuont`\n  hint: did you mean `amount`?\n",
        ),
        (
            &["shop:ordrs", "x.csv"],
            6,
            "error: [TABLE-MISSING] FROM, character 6: no table `ordrs`\n  from: plugin `sqlite`, reader, `schema`\n  hint: did you mean `orders`? (1 table: orders)\n",
        ),
        (
            &["orders.csv", "shop:fresh"],
            6,
            "error: [TABLE-MISSING] TO, character 6: no table `fresh`\n  from: plugin `sqlite`, writer, `draft`\n  hint: 1 table: orders; `--create` creates it from the source's columns\n",
        ),
        (
            &["orders.csv", "x.csv", "--from-plugin", "fiel"],
            2,
            "--from-plugin: [PLUGIN-UNKNOWN] there is no plugin `fiel`\n",
        ),
        (&["none.csv", "x.csv"], 4, "error: FROM, character 1: "),
    ];
    let mut wrong = String::new();
    for (arguments, exit, expected) in cases {
        let ended = workplace.run(&[&["copy"], arguments, &["--width", "80"]].concat());
        if !ended.stderr.starts_with(expected) || ended.exit != Some(exit) {
            wrong += &format!("{arguments:?}\n{ended:?}\n{expected}\n\n");
        }
        assert!(!format!("{ended:?}").contains("secret"), "{ended:?}");
    }
    let data = workplace.run(&["copy", "orders", "x.csv", "--output", "json"]);
    let data: Value = serde_json::from_str(&data.exits(2).stdout).unwrap();
    assert_eq!(
        (&data["problems"][0]["file"], &data["problems"][0]["column"]),
        (&"FROM".into(), &1.into())
    );
    assert!(wrong.is_empty(), "{wrong}");
    // What hints say works.
    workplace.run(&["copy", "orders.cvs", "x.csv", "--from-format", "csv", "-q"]).exits(0);
    workplace.run(&["copy", "orders.csv", "shop:fresh", "--create", "-q"]).exits(0);
    let again = workplace.run(&["copy", "orders.csv", "x.csv"]);
    again.exits(1).says("`--mode overwrite`");
    workplace.run(&["copy", "orders.csv", "x.csv", "--mode", "overwrite", "-q"]).exits(0);
    let mut command = workplace.command();
    command.args(["copy", "-", "-", "--from-format", "csv", "--to-format", "jsonl", "-q"]);
    assert_eq!(fed(command, "id\n1\n").exits(0).stdout, "{\"id\":1}\n");
}

/// A password in a URL reaches the plugin, and no output, file or argument of a child has it.
#[test]
fn a_password_in_a_url_is_a_secret() {
    let workplace = shop();
    let url = "postgres://u:hunter%3A2@127.0.0.1:1/d?table=t&connect_timeout=1%20s";
    let mut seen = String::new();
    for more in [
        &["--as-job"][..],
        &["--plan"],
        &["--plan", "--output", "json"],
        &["-vvv"],
        &[],
        &["surplus", "postgres://u:hunter%3A2@h/d"],
        &["--parallelism", "postgres://u:hunter%3A2@h"],
    ] {
        let ended = workplace.run(&[&["copy", "orders.csv", url], more].concat());
        seen += &format!("{}{}", ended.stdout, ended.stderr);
    }
    assert!(seen.contains("password = { env = \"TRANSLOAD_TO_PASSWORD\" }"), "{seen}");
    assert!(seen.contains("[PG-NOT-OPEN]"), "{seen}");
    for word in ["hunter", "3A2"] {
        assert!(!seen.contains(word), "{seen}");
    }
    // The job file takes it from the variable that it names.
    let text = workplace.run(&["copy", "orders.csv", url, "--as-job"]);
    workplace.put("job.toml", &text.exits(0).stdout);
    workplace.run(&["run", "job.toml"]).exits(2).says("`TRANSLOAD_TO_PASSWORD` is not set");
    let mut command = workplace.command();
    command.args(["run", "job.toml"]).env("TRANSLOAD_TO_PASSWORD", "x");
    Ended::from(command.output().unwrap()).exits(5).says("PG-NOT-OPEN");
}

/// Rows alone are on stdout; a reader that goes away ends the command.
#[test]
fn standard_output_has_rows_only() {
    let workplace = shop();
    let ended = copy(&workplace, &["shop:orders", "-", "--columns", "id,amount"]);
    assert_eq!(ended.exits(0).stdout, "id,amount\n1,12.50\n2,3.00\n3,7.25\n");
    assert!(ended.stderr.contains("copy-stdout done"), "{}", ended.stderr);
    let mut command = workplace.command();
    command.args(["copy", "-", "shop:t", "--create", "--plan"]);
    let plan = fed(command, ROWS);
    assert!(plan.exits(0).stdout.contains(
        "`stdin` can be read only once: a run that fails is begun again with the same input"
    ));
    let mut command = workplace.command();
    command.args([
        "copy",
        "generator:50000000?specs.id=int64 sequence",
        "-",
        "--to-format",
        "jsonl",
    ]);
    command.args(["--progress", "none"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let begun = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut first = [0; 9];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"{\"id\":1}\n");
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert!(begun.elapsed() < Duration::from_secs(60), "{ended:?}");
    ended.exits(1).says("stdout");
}

/// A run of a line is in the history, is verified and continues like one of a file.
#[test]
fn a_run_continues_by_its_name() {
    let workplace = shop();
    workplace.execute(
        "shop.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, customer TEXT, amount DECIMAL_TEXT(10,2)); \
         CREATE TRIGGER full BEFORE INSERT ON t WHEN NEW.id = 3 BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    let line = ["copy", "orders.csv", "shop:t", "--mode", "upsert", "--key", "id"];
    workplace.run(&line).exits(3);
    workplace.execute("shop.db", "DROP TRIGGER full");
    workplace.run(&["resume", "copy-t"]).exits(0);
    assert_eq!(workplace.sqlite("shop.db", "SELECT count(*) FROM t"), ["3"]);
    let verified = workplace.run(&["verify", "copy-t"]);
    assert!(verified.exits(0).stdout.contains("equal"), "{verified:?}");
    let history = workplace.run(&["history", "copy-t"]);
    assert!(history.exits(0).stdout.contains("copy-t"), "{history:?}");
}

#[test]
fn a_preview_shows_rows_types_and_where_they_come_from() {
    let workplace = shop();
    let ended =
        workplace.run(&["preview", "orders.csv", "--type", "id=text", "-n", "2", "--width", "80"]);
    assert_eq!(
        ended.exits(0).stdout,
        "column    type             from\n\
         id        text             declared\n\
         customer  text             inferred from text\n\
         amount    decimal(18,2)    inferred from text\n\
         note  types inferred from the first 3 rows\n\
         note  delimiter \",\", header (from the first 4 lines)\n\n\
         id  customer     amount\n\
         1   王伟          12.50\n\
         2   O\"Neil, Ann    3.00\n\n\
         2 rows; there are more\n"
    );
    let ended =
        workplace.run(&["preview", "shop:orders", "--columns", "id,amount", "--width", "80"]);
    assert_eq!(
        ended.exits(0).stdout,
        "column  type                from\n\
         id      int64          key  INTEGER\n\
         amount  decimal(10,2)       DECIMAL_TEXT(10,2)\n\n\
         id  amount\n 1   12.50\n 2    3.00\n 3    7.25\n\n\
         3 rows, which is all\n"
    );
    let preview = json(&workplace, &["preview", "shop:orders", "-n", "1"]);
    assert_eq!(preview["rows"], serde_json::json!([["1", "王伟", "12.50"]]));
    assert_eq!(preview["more"], true);
    assert_eq!(preview["columns"][2]["origin"], "native");
    // Wide rows fit the terminal: cells are cut, columns counted.
    let wide: String = (0..40).map(|n| format!("c{n},")).collect::<String>() + "last";
    workplace.put("wide.csv", format!("{wide}\n{}\n", wide.replace('c', "某值值值值")));
    let ended = workplace.run(&["preview", "wide.csv", "--width", "60"]);
    let rows = ended.exits(0).stdout.split("\n\n").nth(1).unwrap().to_owned();
    assert!(rows.contains(" more columns: c"), "{rows}");
    assert_eq!(
        workplace.run(&["preview", "wide.csv", "-n", "0"]).exits(0).stdout.lines().next_back(),
        Some("no rows")
    );
}

/// A preview of a slow, endless source ends at once.
#[test]
fn a_preview_reads_no_more_than_it_shows() {
    let workplace = Workplace::new();
    let begun = Instant::now();
    let slow = "generator:1000000000?specs.id=int64&batch_rows=10&delay=200 ms";
    let preview = json(&workplace, &["preview", slow, "-n", "15"]);
    assert_eq!(preview["rows"].as_array().unwrap().len(), 15);
    assert!(begun.elapsed() < Duration::from_secs(20));
    let mut command = workplace.command();
    command.args(["preview", "-", "-n", "1"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Standard input stays open.
    let mut stdin = child.stdin.take().unwrap();
    let text = "id\n".to_owned() + &"1\n".repeat(1 << 20);
    let feeding = thread::spawn(move || {
        let _ = stdin.write_all(text.as_bytes());
        thread::sleep(Duration::from_secs(2));
    });
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert!(shown.contains("1 row; there are more"), "{shown}");
    child.wait().unwrap();
    feeding.join().unwrap();
}

/// A file to start from lists columns with their types, and is a valid job as it stands.
#[test]
fn a_new_job_file_is_valid_and_commented() {
    let workplace = shop();
    let cases: [&[&str]; 5] = [
        &["orders.csv", "shop:fresh", "--create", "--key", "id"],
        &["shop:orders", "out.parquet"],
        &["orders.csv", "out.db#t", "--create", "--type", "id=text", "--max-dirty", "5"],
        &["generator:5?preset=lineitem", "out.jsonl", "--map", "key=l_orderkey"],
        &["orders.csv", "postgres://u:secret@127.0.0.1:1/d?table=t", "--create"],
    ];
    for arguments in cases {
        let file = workplace.run(&[&["new"], arguments].concat());
        workplace.put("new.toml", &file.exits(0).stdout);
        workplace.run(&["check", "new.toml"]).exits(0);
        assert!(!file.stdout.contains("secret"), "{}", file.stdout);
    }
    let file = workplace.run(&["new", "orders.csv", "shop:fresh", "--create"]);
    for line in [
        "    \"amount\",    # decimal(18,2), inferred from text",
        "# write_mode = \"insert\"   # or: ignore, upsert, replace, overwrite",
        "# [dirty]",
    ] {
        assert!(file.stdout.lines().any(|own| own == line), "{line}\n{}", file.stdout);
    }
    // Every comment that is a key is one that the job takes.
    let uncommented: String = file
        .stdout
        .lines()
        .map(|line| {
            let bare = line
                .strip_prefix("# ")
                .filter(|rest| rest.contains(" = ") || rest.starts_with('['));
            format!("{}\n", bare.unwrap_or(line))
        })
        .collect();
    let usable = uncommented.replace("target_column = \"source_column\"", "total = \"amount\"");
    workplace.put("all.toml", usable);
    workplace.run(&["check", "all.toml"]).exits(0);
}

/// The same words for servers: rows go round by URLs, with passwords in them.
#[test]
fn servers_are_named_by_urls() {
    let workplace = shop();
    let url = |product: Product| {
        let variable = format!("TRANSLOAD_TEST_{}", product.word().to_uppercase());
        std::env::var(&variable).unwrap_or_else(|_| panic!("{variable} is not set: see tests/run"))
    };
    let table = format!("copying_{}", std::process::id());
    let mut from = "shop:orders".to_owned();
    for product in [Product::Postgres, Product::Mariadb, Product::Mysql] {
        // MySQL sends the key for a password without TLS.
        let more =
            if product == Product::Postgres { "" } else { "&allow_public_key_retrieval=true" };
        let url = url(product);
        let to = format!("{url}?table={table}{more}");
        let ended =
            workplace.run(&["copy", &from, &to, "--create", "--key", "id", "--mode", "upsert"]);
        ended.exits(0);
        from = format!("{url}?connect_timeout=20 s{more}#{table}");
    }
    let expected = rows(&workplace, "shop:orders");
    assert_eq!(rows(&workplace, &from), expected);
}

/// What a vendor's plugin declares is all that the program needs: its URLs, the pages of its codes, the
/// words of its counts.
#[test]
fn a_vendors_plugin_is_named_explained_and_counted_by_its_descriptor() {
    let workplace = Workplace::new();
    let folder = sample_folder();
    let own = ["--allow-unsigned-plugins", "--plugins", folder.path().to_str().unwrap()];
    let run = |arguments: &[&str]| workplace.run(&[arguments, &own].concat());
    let page = run(&["explain", "[sample-1234]"]);
    assert_eq!(page.exits(0).stdout, "SAMPLE-1234 (plugin `sample`)\n\nCause. It is late.\n");
    assert!(run(&["explain", "SAMPLE-77"]).exits(0).stdout.contains("Something else."));
    let page: Value =
        serde_json::from_str(&run(&["explain", "SAMPLE-1234", "--output", "json"]).stdout).unwrap();
    assert_eq!(
        (&page["plugin"], &page["text"]),
        (&"sample".into(), &"**Cause.** It is late.".into())
    );
    assert!(run(&["explain"]).exits(0).stdout.contains("the sample is asleep (plugin `sample`)."));
    run(&["explain", "SMPLE-1234"]).exits(2).says("did you mean `SAMPLE-1234`?");
    let info = run(&["plugin", "info", "sample"]);
    for words in ["sample:file", "SAMPLE-1234", "verbs were called", "trust     unsigned", "limits"]
    {
        assert!(info.exits(0).stdout.contains(words), "{words}: {}", info.stdout);
    }
    let info: Value =
        serde_json::from_str(&run(&["plugin", "info", "sample", "--output", "json"]).stdout)
            .unwrap();
    assert_eq!((&info["name"], &info["library"]["trust"]), (&"sample".into(), &"unsigned".into()));
    let ended = run(&["copy", "sample:x", "generator:", "--max-dirty", "unlimited"]);
    ended.exits(0).says("7 verbs were called (sample)");
}
