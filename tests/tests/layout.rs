//! What the program prints at 60, 80, 120 and 200 columns. `tests/layout` holds the expected texts;
//! `TRANSLOAD_WRITE_LAYOUT=1` writes them anew.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{fmt::Write as _, path::Path};

use transload_tests::{Ended, Workplace, sample_folder};

const WIDTHS: [&str; 4] = ["60", "80", "120", "200"];

/// Into a table that exists, so that verdicts differ; a name is in Chinese.
const JOB: &str = "name = \"orders\"\n\
    [reader]\nplugin = \"generator\"\nrows = 50_000\nspecs = { id = \"int64\", \
    customer_name = \"text\", price = \"decimal(8,2)\", created_at = \"timestamp\", \
    \"订单编号\" = \"text\" }\n\
    [writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"orders\"\n\
    write_mode = \"overwrite\"\n[channel]\nparallelism = 3\n";

const TO_ORDERS: &str = "[writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"orders\"\n";

const TABLE: &str = "CREATE TABLE orders (id SMALLINT PRIMARY KEY, customer_name VARCHAR(40), \
    price DECIMAL(10,2) NOT NULL, created_at DATETIME, \"订单编号\" TEXT)";

/// Compares what commands print at each width with the file `tests/layout/NAME.txt`.
#[track_caller]
fn assert_layout(name: &str, workplace: &Workplace, arguments: &[&str]) {
    let mut shown = String::new();
    for width in WIDTHS {
        let ended = workplace.run(&[arguments, &["--width", width]].concat());
        assert_fits(&ended, width.parse().unwrap());
        let text = [ended.stdout, ended.stderr].concat();
        writeln!(shown, "==== {width} columns\n{}", masked(workplace, &text)).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("layout/{name}.txt"));
    if std::env::var_os("TRANSLOAD_WRITE_LAYOUT").is_some() {
        std::fs::write(&path, &shown).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == shown, "{} differs; now:\n{shown}", path.display());
}

/// What differs from run to run, replaced by as many characters.
fn masked(workplace: &Workplace, text: &str) -> String {
    let folder = workplace.path().display().to_string();
    let mut shown = String::new();
    for line in text.replace(&folder, &"/".repeat(folder.len())).lines() {
        let varies = [
            "  rate ",
            "  bottleneck ",
            "orders done in ",
            "orders failed in ",
            "  file      ",
            "  sha256    ",
        ];
        match varies.iter().find(|start| line.starts_with(**start)) {
            Some(start) => writeln!(shown, "{start}...").unwrap(),
            None => writeln!(shown, "{}", without_run(line)).unwrap(),
        }
    }
    shown
}

/// A line whose names of runs are all the same.
fn without_run(line: &str) -> String {
    let is_run = |text: &str| {
        let form = "ddddddddtdddddd-hhhhhhhh";
        text.len() == form.len()
            && form.chars().zip(text.chars()).all(|(form, c)| match form {
                'd' => c.is_ascii_digit(),
                'h' => c.is_ascii_hexdigit(),
                form => form == c,
            })
    };
    let mut line = line.to_owned();
    let starts: Vec<_> = line.char_indices().map(|(at, _)| at).collect();
    for at in starts {
        if line.get(at..at + RUN.len()).is_some_and(is_run) {
            line.replace_range(at..at + RUN.len(), RUN);
        }
    }
    line
}

const RUN: &str = "20261130t170259-00000000";

/// No line is wider, unless a long word makes it so, such as a path.
#[track_caller]
fn assert_fits(ended: &Ended, width: usize) {
    for line in ended.stdout.lines().chain(ended.stderr.lines()) {
        let columns: usize = line.chars().map(|c| if c > '\u{1100}' { 2 } else { 1 }).sum();
        let has_long_word = line.split(' ').any(|word| word.len() > width / 2);
        assert!(columns <= width || has_long_word, "{columns} columns of {width}: {line}");
    }
}

#[test]
fn a_plan_reads_well() {
    let workplace = Workplace::new();
    workplace.execute("target.db", TABLE);
    workplace.put("job.toml", JOB);
    assert_layout("plan", &workplace, &["plan", "job.toml"]);
}

/// Two hundred columns fit on a screen; those that need thought are shown.
#[test]
fn a_wide_table_is_folded() {
    let workplace = Workplace::new();
    let names: Vec<_> = (0..200).map(|at| format!("column_{at:03}")).collect();
    let types = |at: usize| if at % 67 == 5 { "SMALLINT" } else { "BIGINT" };
    let specs: Vec<_> = names.iter().map(|name| format!("{name} = \"int64\"")).collect();
    let columns = names.iter().enumerate().map(|(at, name)| format!("{name} {}", types(at)));
    let table = format!("CREATE TABLE wide ({})", columns.collect::<Vec<_>>().join(", "));
    workplace.execute("target.db", &table);
    let job = format!(
        "[reader]\nplugin = \"generator\"\nrows = 1\nspecs = {{ {} }}\n\
         [writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"wide\"\n",
        specs.join(", ")
    );
    workplace.put("old.toml", &job);
    workplace.put("new.toml", job.replace("\"wide\"", "\"new\"\ncreate_table = true"));
    assert_layout("plan-wide", &workplace, &["plan", "old.toml"]);
    let whole = workplace.run(&["plan", "old.toml", "--columns"]);
    assert!(names.iter().all(|name| whole.exits(0).stdout.contains(name)), "{whole:?}");
    assert_layout("plan-new", &workplace, &["plan", "new.toml"]);
    let whole = workplace.run(&["plan", "new.toml", "--columns"]);
    assert!(names.iter().all(|name| whole.exits(0).stdout.matches(name).count() == 3));
}

#[test]
fn mistakes_read_well() {
    let workplace = Workplace::new();
    let job = JOB.replace("write_mode", "writemode").replace("\"generator\"", "\"genrator\"");
    workplace.put("job.toml", job);
    assert_layout("check", &workplace, &["check", "job.toml"]);
    workplace
        .put("job.toml", format!("{TO_ORDERS}[reader]\nplugin = \"file\"\npath = \"in.csv\"\n"));
    // The path of the folder has another length elsewhere.
    for width in WIDTHS {
        let ended = workplace.run(&["plan", "job.toml", "--width", width]);
        assert_fits(&ended, width.parse().unwrap());
        let words = ended.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.starts_with("error: job.toml:7:8: "), "{words}");
        assert!(words.ends_with("hint: its folder has: job.toml"), "{words}");
    }
}

#[test]
fn a_summary_reads_well() {
    let workplace = Workplace::new();
    workplace.put("eu/in.csv", "id,name\n1,a\n2,b\nx,c\n");
    let job = format!(
        "name = \"orders\"\n{TO_ORDERS}[reader]\nplugin = \"file\"\n\
         path = \"${{region}}/in.csv\"\n[dirty]\nmax_rows = 5\n[params]\nregion = \"eu\"\n"
    );
    workplace.execute("target.db", "CREATE TABLE orders (id INTEGER NOT NULL, name TEXT)");
    workplace.put("job.toml", job);
    let ended = workplace.run(&["run", "job.toml", "--width", "60"]);
    ended.exits(0).says("  rows        3 read = 2 inserted + 1 dirty\n");
    ended.says("  inputs      job.toml, region=eu, 1 file: in.csv\n");
    assert_fits(&ended, 60);
    assert_layout("summary", &workplace, &["run", "job.toml", "--state", "s"]);
}

#[test]
fn plugins_and_connections_read_well() {
    let workplace = Workplace::new();
    let plugins = sample_folder();
    let plugins = plugins.path().to_str().unwrap();
    let arguments = ["plugin", "info", "sample", "--allow-unsigned-plugins", "--plugins", plugins];
    assert_layout("plugin-info", &workplace, &arguments);
    for width in WIDTHS {
        let fits = |arguments: &[&str]| {
            let ended = workplace.run(&[arguments, &["--width", width]].concat());
            assert_fits(&ended, width.parse().unwrap());
        };
        fits(&["plugin", "list"]);
        fits(&["explain"]);
        for name in PLUGINS.iter().filter(|_| width == "60") {
            fits(&["plugin", "info", name]);
            fits(&["plugin", "info", name, "types"]);
        }
    }
    workplace.put("connections.toml", "[shop]\nplugin = \"sqlite\"\npath = \"no/shop.db\"\n");
    assert_layout("connection-list", &workplace, &["connection", "list"]);
    let server = "[far]\nplugin = \"postgres\"\nhost = \"127.0.0.1\"\nport = 1\nuser = \"ana\"\n\
                  database = \"shop\"\n";
    workplace.put("connections.toml", server);
    assert_layout("connection-test", &workplace, &["connection", "test", "far"]);
}

const PLUGINS: [&str; 7] =
    ["adbc", "file", "generator", "mysql", "object-store", "postgres", "sqlite"];

/// Help shows a job that a user can copy.
#[test]
fn every_plugin_shows_an_example_that_is_valid() {
    let workplace = Workplace::new();
    for name in PLUGINS {
        let shown = workplace.run(&["plugin", "info", name]);
        let (_, example) = shown.exits(0).stdout.split_once("\nexample of a job\n").unwrap();
        assert!(example.contains(&format!("plugin = \"{name}\"")), "{example}");
        workplace.put("job.toml", example);
        workplace.run(&["check", "job.toml"]).exits(0);
    }
}

#[test]
fn one_option_is_shown_alone() {
    let workplace = Workplace::new();
    let shown = workplace.run(&["plugin", "info", "file", "delimiter"]);
    shown.exits(0);
    assert!(shown.stdout.starts_with("delimiter\n  place     [reader]\n"), "{shown:?}");
    assert!(shown.stdout.contains("\n  place     [writer]\n"), "{shown:?}");
    assert!(!shown.stdout.contains("encoding"), "{shown:?}");
    let wrong = workplace.run(&["plugin", "info", "file", "delimitr"]);
    wrong.exits(2).says("plugin `file` has no option `delimitr`").says("did you mean `delimiter`?");
    let json = workplace.run(&["plugin", "info", "file", "delimiter", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.exits(0).stdout).unwrap();
    assert_eq!(json[0]["key"], "delimiter");
}

/// Colours are for terminals, unless they are asked for.
#[test]
fn what_destroys_is_red_where_there_are_colours() {
    let workplace = Workplace::new();
    workplace.execute("target.db", TABLE);
    workplace.put("job.toml", JOB);
    let red = "\u{1b}[1;31mDESTRUCTIVE\u{1b}[0m";
    let shown = |arguments: &[&str], key: &str| {
        let mut command = workplace.command();
        command.env_remove("NO_COLOR").args([&["plan", "job.toml"], arguments].concat());
        if !key.is_empty() {
            command.env(key, "1");
        }
        Ended::from(command.output().unwrap()).stdout
    };
    assert!(shown(&["--color", "always"], "").contains(red));
    assert!(shown(&[], "CLICOLOR_FORCE").contains(red));
    for (arguments, key) in
        [(&[][..], ""), (&["--color", "never"], "CLICOLOR_FORCE"), (&[], "NO_COLOR")]
    {
        let text = shown(arguments, key);
        assert!(text.contains("DESTRUCTIVE") && !text.contains('\u{1b}'), "{text}");
    }
}
