//! Numbers that a database column keeps as others, by the whole way from a file: a text and a typed
//! source have the same outcome, and what a writer takes its reader gives back.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use transload_tests::{
    Workplace,
    servers::{Database, Product},
};

/// Numbers, and whether a single and a double take them.
const NUMBERS: &[(&str, bool, bool)] = &[
    ("1.5", true, true),
    ("-1", true, true),
    ("0.1", true, true),
    ("16777216", true, true),
    ("16777217", false, true),
    ("-16777217", false, true),
    ("9007199254740993", false, false),
    // as JavaScript prints it, and exactly
    ("12345678901234567000", false, true),
    ("12345678901234567168", false, true),
    ("12345678901234567890", false, false),
    ("1e39", false, true),
    ("-1e39", false, true),
    ("1e-50", false, true),
    ("1e309", false, false),
    ("1e-400", false, false),
    ("0e400", true, true),
];

/// `id,x` with the numbers.
fn file() -> String {
    let lines = NUMBERS.iter().enumerate().map(|(id, (text, ..))| format!("{id},{text}\n"));
    format!("id,x\n{}", lines.collect::<String>())
}

/// Runs a job from the file into a table, the column read as `logical`; the ids that are in.
fn written(workplace: &Workplace, writer: &str, logical: &str) {
    workplace.put("in.csv", file());
    let job = format!(
        "[reader]\nplugin = \"file\"\npath = \"in.csv\"\nschema = {{ id = \"int64\", x = \"{logical}\" }}\n\
         [writer]\n{writer}[dirty]\nmax_rows = \"unlimited\"\n"
    );
    workplace.job(&job).0.exits(0);
}

fn expected(single: bool) -> Vec<String> {
    let kept = |(id, (_, in_single, in_double)): (usize, &(&str, bool, bool))| {
        let kept = if single { *in_single } else { *in_double };
        kept.then(|| id.to_string())
    };
    NUMBERS.iter().enumerate().filter_map(kept).collect()
}

#[test]
fn floats_of_sqlite_are_exact_or_refused() {
    for (native, single) in [("FLOAT4", true), ("REAL", false)] {
        for logical in ["text", if single { "float32" } else { "float64" }] {
            let workplace = Workplace::new();
            workplace
                .execute("o.db", &format!("CREATE TABLE t(id INTEGER PRIMARY KEY, x {native})"));
            let writer = "plugin = \"sqlite\"\npath = \"o.db\"\ntable = \"t\"\n";
            written(&workplace, writer, logical);
            let found = workplace.sqlite("o.db", "SELECT id FROM t ORDER BY id");
            assert_eq!(found, expected(single), "{native} from {logical}");
        }
    }
}

#[test]
fn floats_of_mysql_are_exact_or_refused() {
    for product in [Product::Mariadb, Product::Mysql] {
        for (native, single) in [("FLOAT", true), ("DOUBLE", false)] {
            for logical in ["text", if single { "float32" } else { "float64" }] {
                let sql = format!("CREATE TABLE t(id BIGINT PRIMARY KEY, x {native});");
                let database = Database::new(product, &sql);
                let writer = format!("{}table = \"t\"\n", database.address(None));
                written(&Workplace::new(), &writer, logical);
                let found = database.lines("SELECT id FROM t ORDER BY id");
                assert_eq!(found, expected(single), "{product:?} {native} from {logical}");
            }
        }
    }
}

/// What `create_table` makes of a CSV is read back as it was, exponents included.
#[test]
fn what_sqlite_takes_it_gives_back() {
    let workplace = Workplace::new();
    let csv = "n,d,s\n1e5,1.50,a\n-2.5E-3,2.25,b\n12345678901234567890.5,0.10,c\n";
    workplace.put("in.csv", csv);
    let file = |path: &str| format!("plugin = \"file\"\npath = \"{path}\"\n");
    let sqlite = "plugin = \"sqlite\"\npath = \"o.db\"\ntable = \"t\"\n";
    for schema in ["", "schema = { n = \"numeric\", d = \"decimal(9,2)\" }\n"] {
        let _ = std::fs::remove_file(workplace.path().join("o.db"));
        let (into, out) = (file("in.csv"), file("out.csv"));
        let job = format!("[reader]\n{into}{schema}[writer]\n{sqlite}create_table = true\n");
        workplace.job(&job).0.exits(0);
        let back = format!("[reader]\n{sqlite}[writer]\n{out}write_mode = \"overwrite\"\n");
        workplace.job(&back).0.exits(0);
        assert_eq!(workplace.read("out.csv"), csv);
    }
}

/// One file as source and target: a reader and a writer get in each other's way unless the journal
/// is a WAL, which the error says, with the command that makes it one.
#[test]
fn one_database_file_is_read_and_written() {
    let fill = "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) \
         INSERT INTO t SELECT i, 'a text of some length ' || i FROM n; \
         CREATE TABLE o(id INTEGER PRIMARY KEY, s TEXT);";
    let workplace = Workplace::new();
    workplace.execute("one.db", fill);
    let side = "plugin = \"sqlite\"\npath = \"one.db\"\n";
    let wait = "busy_timeout = \"100 ms\"\n";
    let job = format!("[reader]\n{side}table = \"t\"\n[writer]\n{side}table = \"o\"\n{wait}");
    let (ended, _) = workplace.job(&job);
    // A reader that is quick enough is out of the way before the first chunk is committed.
    if ended.exit != Some(0) {
        ended.exits(75).says("the job's own reader").says("'PRAGMA journal_mode = wal'");
    }
    workplace.execute("one.db", "DELETE FROM o");
    assert_eq!(workplace.sqlite("one.db", "PRAGMA journal_mode = wal"), ["'wal'"]);
    workplace.job(&job).0.exits(0);
    assert_eq!(workplace.sqlite("one.db", "SELECT count(*) FROM o"), ["200000"]);
}
