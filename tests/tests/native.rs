//! Values that only one kind of store holds pass unchanged between two sources of that kind, byte
//! for byte. Into any other kind of target, and where the types differ, today's rules hold: the row
//! is dirty, or the value becomes text.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use serde_json::Value as Json;
use transload_tests::{
    Workplace,
    servers::{Database, Product},
    texts::records,
};

/// A type, and values in the server's own words.
type Kind = (&'static str, &'static [&'static str]);

/// PostgreSQL's types that no other type holds entirely.
const POSTGRES: &[Kind] = &[
    ("numeric(12,2)", &["NaN", "-0.01", "9999999999.99"]),
    ("numeric(100,50)", &["NaN", "1e49", "-1e-50"]),
    ("date", &["infinity", "-infinity", "4713-01-01 BC", "5874897-12-31", "2024-02-29"]),
    ("time", &["24:00", "00:00", "23:59:59.999999"]),
    ("time(3)", &["24:00", "12:00:00.123"]),
    ("timestamp", &["infinity", "-infinity", "294276-12-31 23:59:59.999999", "4713-01-01 BC"]),
    ("timestamptz", &["infinity", "-infinity", "294276-12-31 23:59:59.999999Z"]),
    ("timestamptz(0)", &["infinity", "2024-01-01 00:00:01Z"]),
    ("interval", &["178000000 years", "-1 mon 2 days -00:00:00.000001", "2562047788:00:54.775807"]),
    ("interval(3)", &["1 day 00:00:00.123"]),
    ("interval year to month", &["3 years 2 mons"]),
    ("timetz", &["24:00:00+15:59:59", "12:00:00.000001-08"]),
    ("timetz(2)", &["12:00:00.25+00"]),
    ("money", &["-92233720368547758.08", "0.01"]),
    ("\"char\"", &["a", "", "\\\\"]),
    ("character", &["a", " "]),
    ("bpchar", &["a  ", "", " "]),
    ("bit(3)", &["101", "000"]),
    ("bit", &["1"]),
    ("bit varying", &["", "0", "1111111110"]),
    ("bit varying(5)", &["10101"]),
    ("oid", &["0", "4294967295"]),
    ("xid", &["4294967295"]),
    ("cid", &["7"]),
    ("tid", &["(4294967295,65535)"]),
    ("xid8", &["18446744073709551615"]),
    ("pg_lsn", &["FFFFFFFF/FFFFFFFF"]),
    ("pg_snapshot", &["10:20:10,14,15"]),
    ("point", &["(0.1,-0)", "(NaN,Infinity)"]),
    ("line", &["{1,2,3}"]),
    ("lseg", &["[(0,0),(1e300,-1e-300)]"]),
    ("box", &["(2,2),(1,1)"]),
    ("path", &["[(0,0),(1,1)]", "((0,0),(1,1))"]),
    ("polygon", &["((0,0),(1,1),(2,0))"]),
    ("circle", &["<(1,2),3.5>"]),
    ("inet", &["192.168.0.1/24", "::1"]),
    ("cidr", &["10.0.0.0/8", "2001:db8::/32"]),
    ("macaddr", &["08:00:2b:01:02:03"]),
    ("macaddr8", &["08:00:2b:01:02:03:04:05"]),
    ("int4range", &["empty", "[1,5)", "(,)"]),
    ("int8range", &["[-9223372036854775808,)"]),
    ("numrange", &["[1.10,1.5]", "(,NaN]"]),
    ("tsrange", &["[2024-01-01 00:00:00.000001,infinity)"]),
    ("tstzrange", &["(-infinity,2024-01-01 00:00:00.5Z]"]),
    ("daterange", &["[2024-01-01,infinity)"]),
    ("datemultirange", &["{[2024-01-01,2024-02-01),[2025-01-01,)}", "{}"]),
    ("tsvector", &["fat:2,4A cat:3B,16383", ""]),
    ("tsquery", &["fat & (rat | !cat:AB*)"]),
    ("jsonpath", &["$.a[*] ? (@ > 1.50)"]),
    ("int4[]", &["{}", "{1,NULL}", "{{1,2},{3,4}}", "[-1:0]={1,2}", "{{{1}},{{2}}}"]),
    ("text[]", &["{{a,\"NULL\"},{NULL,\"b,\\\\\"c\"}}", "[5:5]={x}"]),
    ("numeric(5,2)[]", &["{NaN,1.50}"]),
    ("date[]", &["{infinity,2024-01-01}"]),
    ("timestamptz[]", &["{{-infinity}}"]),
    ("point[]", &["{\"(1,2)\",\"(3,4)\"}"]),
    ("jsonb[]", &["{\"{\\\\\"a\\\\\": 1.0}\"}"]),
    ("int2vector", &["1 2 3"]),
    ("money[]", &["{1.5}"]),
    ("days", &["infinity"]),
];

/// PostgreSQL's types that users make.
const USERS: &[Kind] = &[
    ("mood", &["it''s", "x,y", ""]),
    ("mood[]", &["{{\"it''s\"},{\"\"}}"]),
    ("pair", &["(1,\"a,b\")", "(,)"]),
    ("pair[]", &["{\"(1,a)\",NULL}"]),
    ("moods", &["[\"\",\"x,y\")"]),
    ("hstore", &["a=>NULL, \"b\"=>\"\"", ""]),
    ("citext", &["ÄaA"]),
    ("\"Two Words\"", &["(NaN)"]),
];

const MADE: &str = "CREATE DOMAIN days AS date; CREATE TYPE mood AS ENUM ('', 'it''s', 'x,y'); \
    CREATE TYPE pair AS (a int, b text); CREATE TYPE moods AS RANGE (subtype = mood); \
    CREATE TYPE \"Two Words\" AS (a numeric(5,2)); \
    CREATE EXTENSION hstore; CREATE EXTENSION citext;";

/// `CREATE TABLE t` with a column for each kind.
fn table(kinds: &[Kind]) -> String {
    let columns = kinds.iter().enumerate().map(|(at, (native, _))| format!(", c{at} {native}"));
    format!("CREATE TABLE t(id bigint PRIMARY KEY{});", columns.collect::<String>())
}

/// A row for each value, NULL in all other columns; `literal` is a value as the server reads it.
fn filled(kinds: &[Kind], literal: fn(&str, &str) -> String) -> String {
    let mut sql = table(kinds);
    let mut id = 0;
    for (at, (native, values)) in kinds.iter().enumerate() {
        for value in *values {
            id += 1;
            let literal = literal(value, native);
            sql.push_str(&format!("INSERT INTO t(id, c{at}) VALUES ({id}, {literal});"));
        }
    }
    sql
}

fn postgres_literal(value: &str, native: &str) -> String {
    format!("E'{value}'::{native}")
}

/// Of every row, which holds one value: the value in the server's binary form; of types that users
/// made, as text.
fn dump(database: &Database, kinds: &[Kind]) -> Vec<String> {
    // Behind the number of columns and the type's number, which differs between databases.
    let shown = |at: usize, native: &str| match is_made(native) {
        true => format!("c{at}::text"),
        false => format!("encode(substr(record_send(ROW(c{at})), 9), 'hex')"),
    };
    value_of_each_row(database, kinds, shown)
}

/// For each row its type, its number, and what `shown` selects of the type's column.
fn value_of_each_row(
    database: &Database,
    kinds: &[Kind],
    shown: impl Fn(usize, &str) -> String,
) -> Vec<String> {
    let (mut last, mut cases) = (0, String::new());
    for (at, (native, values)) in kinds.iter().enumerate() {
        last += values.len();
        let name = native.replace('\'', "");
        cases += &format!(" WHEN id <= {last} THEN CONCAT('{name}: ', {})", shown(at, native));
    }
    database.lines(&format!("SELECT CASE{cases} END, id FROM t ORDER BY id"))
}

/// The rows that differ.
#[track_caller]
fn compare(found: &[String], expected: &[String], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let wrong = found.iter().zip(expected).filter(|(found, expected)| found != expected);
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{what}: {wrong:#?}");
}

fn is_made(native: &str) -> bool {
    USERS.iter().any(|(made, _)| made == &native)
}

fn job(from: &Database, reader: &str, into: &Database, writer: &str) -> String {
    format!(
        "[reader]\n{}table = \"t\"\n{reader}[writer]\n{}table = \"t\"\n{writer}\
         [channel]\nparallelism = 2\n[dirty]\nmax_rows = 1_000\n",
        from.address(None),
        into.address(None)
    )
}

/// Runs a job; the number of dirty rows.
#[track_caller]
fn dirty(workplace: &Workplace, job: &str) -> u64 {
    let (ended, report) = workplace.job(job);
    ended.exits(0);
    report["rows"]["dirty"].as_u64().unwrap()
}

/// The verdicts of the plan's columns behind the key.
fn verdicts(workplace: &Workplace, job: &str) -> Vec<String> {
    workplace.put("plan.toml", job);
    let ended = workplace.run(&["plan", "plan.toml", "--output", "json"]);
    ended.exits(0);
    let plan: Json = serde_json::from_str(&ended.stdout).unwrap();
    let mapping = plan["mapping"].as_array().unwrap();
    let verdict = |column: &Json| column["verdict"].as_str().unwrap().to_owned();
    mapping.iter().skip(1).map(verdict).collect()
}

#[test]
fn postgres_to_postgres_keeps_every_value() {
    let source = filled(POSTGRES, postgres_literal);
    let source = Database::new(Product::Postgres, &(MADE.to_owned() + &source));
    let workplace = Workplace::new();
    let expected = dump(&source, POSTGRES);
    for mode in ["insert", "upsert", "overwrite"] {
        let target = Database::new(Product::Postgres, &(MADE.to_owned() + &table(POSTGRES)));
        let key = if mode == "upsert" { "key = [\"id\"]\n" } else { "" };
        let job = job(&source, "", &target, &format!("write_mode = \"{mode}\"\n{key}"));
        assert_eq!(dirty(&workplace, &job), 0, "{mode}");
        compare(&dump(&target, POSTGRES), &expected, mode);
    }
}

/// Also through a query, whose columns have no table.
#[test]
fn a_query_of_postgres_keeps_every_value() {
    let source = filled(POSTGRES, postgres_literal);
    let source = Database::new(Product::Postgres, &(MADE.to_owned() + &source));
    let target = Database::new(Product::Postgres, &(MADE.to_owned() + &table(POSTGRES)));
    let workplace = Workplace::new();
    let job =
        job(&source, "", &target, "").replacen("table = \"t\"", "query = \"SELECT * FROM t\"", 1);
    assert_eq!(dirty(&workplace, &job), 0);
    compare(&dump(&target, POSTGRES), &dump(&source, POSTGRES), "");
}

#[test]
fn types_that_users_made_keep_every_value() {
    let source = filled(USERS, postgres_literal);
    let source = Database::new(Product::Postgres, &(MADE.to_owned() + &source));
    // The same types have other numbers here.
    let more = format!("CREATE TYPE first AS ENUM ('a');{MADE}{}", table(USERS));
    let target = Database::new(Product::Postgres, &more);
    let workplace = Workplace::new();
    assert_eq!(dirty(&workplace, &job(&source, "", &target, "")), 0);
    compare(&dump(&target, USERS), &dump(&source, USERS), "");
}

/// A table that the job creates has the source's own types, as far as they are the server's.
#[test]
fn a_created_table_keeps_every_value() {
    let kinds: Vec<Kind> = POSTGRES
        .iter()
        .copied()
        .filter(|(native, _)| !native.starts_with("money") && *native != "character")
        .collect();
    let source =
        Database::new(Product::Postgres, &(MADE.to_owned() + &filled(&kinds, postgres_literal)));
    let target = Database::new(Product::Postgres, "");
    let workplace = Workplace::new();
    let job = job(&source, "", &target, "create_table = true\n");
    assert_eq!(dirty(&workplace, &job), 0);
    compare(&dump(&target, &kinds), &dump(&source, &kinds), "");
}

#[test]
fn the_plan_says_what_is_native() {
    let columns =
        "id bigint PRIMARY KEY, same numeric(12,2), wider numeric(12,2), told date, n int";
    let source = format!(
        "CREATE TABLE t({columns}); INSERT INTO t VALUES (1, 'NaN', 1, '2024-01-01', 1), \
        (2, 1, 'NaN', '2024-01-01', 1), (3, 1, 1, 'infinity', 1);"
    );
    let source = Database::new(Product::Postgres, &source);
    let target = format!(
        "CREATE TABLE t({});",
        columns.replace("wider numeric(12,2)", "wider numeric(14,2)")
    );
    let target = Database::new(Product::Postgres, &target);
    let workplace = Workplace::new();
    let job = job(&source, "schema = { told = \"date\" }\n", &target, "");
    assert_eq!(verdicts(&workplace, &job), ["native", "checked", "checked", "lossless"]);
    workplace.put("plan.toml", &job);
    let plan = workplace.run(&["plan", "plan.toml"]).stdout;
    assert!(plan.contains("native (as PostgreSQL stores it)"), "{plan}");
    assert_eq!(dirty(&workplace, &job), 2, "another type, and a type that the job declares");
    assert_eq!(target.lines("SELECT id, same FROM t"), ["1|NaN"]);
}

/// Options of the reader come before the native form.
#[test]
fn infinity_is_read_as_the_job_says() {
    let sql = "CREATE TABLE t(id bigint PRIMARY KEY, d date);";
    let source = format!("{sql} INSERT INTO t VALUES (1, 'infinity'), (2, '2024-01-01');");
    let source = Database::new(Product::Postgres, &source);
    let target = Database::new(Product::Postgres, sql);
    let workplace = Workplace::new();
    assert_eq!(dirty(&workplace, &job(&source, "infinity = \"null\"\n", &target, "")), 0);
    assert_eq!(target.lines("SELECT id, d FROM t ORDER BY 1"), ["1|", "2|2024-01-01"]);
}

/// Values of the list that the logical types of their columns do not hold.
const ONLY_NATIVE: &[(&str, &str)] = &[
    ("numeric(12,2)", "NaN"),
    ("date", "infinity"),
    ("date", "-infinity"),
    ("time", "24:00"),
    ("time(3)", "24:00"),
    ("timestamp", "infinity"),
    ("timestamp", "-infinity"),
    ("timestamp", "294276-12-31 23:59:59.999999"),
    ("timestamptz", "infinity"),
    ("timestamptz", "-infinity"),
    ("timestamptz", "294276-12-31 23:59:59.999999Z"),
    ("timestamptz(0)", "infinity"),
    ("int4[]", "{{1,2},{3,4}}"),
    ("int4[]", "[-1:0]={1,2}"),
    ("int4[]", "{{{1}},{{2}}}"),
    ("text[]", "{{a,\"NULL\"},{NULL,\"b,\\\\\"c\"}}"),
    ("text[]", "[5:5]={x}"),
    ("numeric(5,2)[]", "{NaN,1.50}"),
    ("date[]", "{infinity,2024-01-01}"),
    ("timestamptz[]", "{{-infinity}}"),
    ("int2vector", "1 2 3"),
    ("days", "infinity"),
];

/// Into a file the values of the whole list go by their logical types.
#[test]
fn a_file_gets_what_the_logical_types_hold() {
    let source = filled(POSTGRES, postgres_literal);
    let source = Database::new(Product::Postgres, &(MADE.to_owned() + &source));
    let interval = |(at, (native, _)): (usize, &Kind)| {
        native.starts_with("interval").then(|| format!("c{at} = \"text\"\n"))
    };
    let schema: String = POSTGRES.iter().enumerate().filter_map(interval).collect();
    let workplace = Workplace::new();
    let job = format!(
        "[reader]\n{}table = \"t\"\n[reader.schema]\n{schema}[writer]\nplugin = \"file\"\n\
         path = \"out.csv\"\n[dirty]\nmax_rows = 100\n",
        source.address(None)
    );
    assert_eq!(dirty(&workplace, &job), ONLY_NATIVE.len() as u64);
    let written = records(&workplace.read("out.csv"));
    let ids: Vec<usize> =
        written[1..].iter().filter_map(|row| row[0].as_ref()?.parse().ok()).collect();
    let all =
        POSTGRES.iter().flat_map(|(native, values)| values.iter().map(|value| (*native, *value)));
    let missing = all.enumerate().filter(|(at, _)| !ids.contains(&(at + 1)));
    let missing: Vec<_> = missing.map(|(_, value)| value).collect();
    assert_eq!(missing, ONLY_NATIVE);
}

/// Into a file and into another database the values go by their logical types.
#[test]
fn other_targets_get_values_by_their_own_rules() {
    let kinds: &[Kind] = &[
        ("numeric(12,2)", &["NaN", "1.50"]),
        ("date", &["infinity", "2024-01-01"]),
        ("time", &["24:00", "01:02:03"]),
        ("int4[]", &["{{1}}", "{1,2}"]),
        ("point", &["(1,2)"]),
        ("money", &["1.5"]),
    ];
    let source = Database::new(Product::Postgres, &filled(kinds, postgres_literal));
    let workplace = Workplace::new();
    let reader = format!("[reader]\n{}table = \"t\"\n", source.address(None));
    let limit = "[dirty]\nmax_rows = 100\n";
    let file = format!("{reader}[writer]\nplugin = \"file\"\npath = \"out.csv\"\n{limit}");
    assert_eq!(dirty(&workplace, &file), 4);
    let rows = workplace.read("out.csv");
    for value in ["1.50", "2024-01-01", "01:02:03", "\"[1,2]\"", "\"(1,2)\"", "$1.50"] {
        assert!(rows.contains(value), "{value}: {rows}");
    }
    let target = Database::new(Product::Mariadb, "");
    let writer = format!("[writer]\n{}table = \"t\"\ncreate_table = true\n", target.address(None));
    assert_eq!(dirty(&workplace, &format!("{reader}{writer}{limit}")), 4);
    assert_eq!(target.value("SELECT COUNT(*) FROM t"), "6");
}

/// Types of MySQL and MariaDB; the values are expressions.
const MYSQL: &[Kind] = &[
    ("date", &["'0000-00-00'", "'2024-00-10'", "'2024-02-31'", "'9999-12-31'", "'0000-01-01'"]),
    ("datetime", &["'0000-00-00 00:00:00'", "'2024-02-30 01:02:03'"]),
    ("datetime(3)", &["'2024-00-00 01:02:03.456'", "'9999-12-31 23:59:59.999'"]),
    ("timestamp null", &["'0000-00-00 00:00:00'", "'1970-01-02 00:00:01'"]),
    ("timestamp(6) null", &["'0000-00-00 00:00:00'", "'2038-01-18 00:00:00.000001'"]),
    ("time(6)", &["'-838:59:59'", "'838:59:59'", "'-00:00:00.000001'", "'24:00:00'"]),
    ("year", &["0", "1901", "2155"]),
    ("bit(10)", &["b'1111111111'", "b'0'"]),
    ("bit(64)", &["b'1'", "~0"]),
    ("enum('a','it''s','')", &["'it''s'", "''"]),
    ("set('a','b')", &["'a,b'", "''"]),
    ("decimal(65,30)", &["-99999999999999999999999999999999999.9", "0"]),
    ("bigint unsigned", &["18446744073709551615"]),
    ("float", &["1.17549435e-38", "3.4028235e38"]),
    ("char(5)", &["'a'", "''"]),
    ("binary(3)", &["x'000020'"]),
    ("json", &["'{\"a\": [null, 1.5]}'"]),
    ("varchar(10) character set latin1", &["'äöü'"]),
    ("geometry", &["ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('LINESTRING(0 0,1 1)')"]),
    ("point", &["ST_GeomFromText('POINT(-0.5 1e300)', 0)", "ST_GeomFromText('POINT(1 2)', 4326)"]),
    ("polygon", &["ST_GeomFromText('POLYGON((0 0,0 1,1 1,0 0))')"]),
    ("multipoint", &["ST_GeomFromText('MULTIPOINT(0 0,1 1)')"]),
    ("geometrycollection", &["ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1))')"]),
];

const STORED: &str = "SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00';";

fn mysql_literal(value: &str, _native: &str) -> String {
    value.to_owned()
}

/// The value of every row as the server prints it, in hexadecimal digits.
fn printed(database: &Database, kinds: &[Kind]) -> Vec<String> {
    value_of_each_row(database, kinds, |at, native| match native.starts_with("vector") {
        true => format!("HEX(c{at})"),
        false => format!("HEX(CONCAT(c{at}))"),
    })
}

#[test]
fn mysql_and_mariadb_keep_every_value() {
    let workplace = Workplace::new();
    for (from, into) in [
        (Product::Mysql, Product::Mysql),
        (Product::Mariadb, Product::Mariadb),
        (Product::Mysql, Product::Mariadb),
        (Product::Mariadb, Product::Mysql),
    ] {
        let source = Database::new(from, &(STORED.to_owned() + &filled(MYSQL, mysql_literal)));
        let expected = printed(&source, MYSQL);
        for more in ["", "load = \"insert\"\n", "write_mode = \"overwrite\"\n"] {
            let target = Database::new(into, &(STORED.to_owned() + &table(MYSQL)));
            let what = format!("{} to {}, {more}", from.word(), into.word());
            assert_eq!(dirty(&workplace, &job(&source, "", &target, more)), 0, "{what}");
            compare(&printed(&target, MYSQL), &expected, &what);
        }
    }
}

#[test]
fn a_created_table_of_mysql_keeps_dates_and_geometries() {
    let native = |kind: &&Kind| {
        ["date", "timestamp", "point", "geometry"].iter().any(|name| kind.0.starts_with(name))
    };
    let kinds: Vec<Kind> = MYSQL.iter().filter(native).copied().collect();
    let workplace = Workplace::new();
    for product in [Product::Mysql, Product::Mariadb] {
        let source = Database::new(product, &(STORED.to_owned() + &filled(&kinds, mysql_literal)));
        let target = Database::new(product, "");
        let create = job(&source, "", &target, "create_table = true\n");
        assert!(verdicts(&workplace, &create).iter().all(|verdict| verdict == "native"));
        assert_eq!(dirty(&workplace, &create), 0);
        compare(&printed(&target, &kinds), &printed(&source, &kinds), product.word());
    }
}

/// MySQL 9 has a type that MariaDB does not have before 11.7.
#[test]
fn vectors_of_mysql_keep_every_value() {
    let kinds: &[Kind] =
        &[("vector(3)", &["STRING_TO_VECTOR('[1,-0.5,3.4e38]')", "x'000000000000000000000080'"])];
    let source = Database::new(Product::Mysql, &filled(kinds, mysql_literal));
    let workplace = Workplace::new();
    for more in ["", "load = \"insert\"\n"] {
        let target = Database::new(Product::Mysql, &table(kinds));
        assert_eq!(dirty(&workplace, &job(&source, "", &target, more)), 0);
        compare(&printed(&target, kinds), &printed(&source, kinds), more);
    }
}

/// Where no native form is accepted, invalid dates follow the option, and the plan refuses
/// geometries.
#[test]
fn zero_dates_follow_the_option_in_other_targets() {
    let kinds: &[Kind] = &[("date", &["'0000-00-00'", "'2024-01-01'"])];
    let sql = STORED.to_owned() + &filled(kinds, mysql_literal);
    let workplace = Workplace::new();
    let source = Database::new(Product::Mariadb, &sql);
    let target = Database::new(Product::Postgres, &table(kinds));
    assert_eq!(dirty(&workplace, &job(&source, "", &target, "")), 1);
    let target = Database::new(Product::Mariadb, &table(kinds));
    let epoch = job(&source, "zero_dates = \"epoch\"\n", &target, "");
    assert_eq!(dirty(&workplace, &epoch), 0, "the option comes before the native form");
    assert_eq!(target.lines("SELECT c0 FROM t ORDER BY id"), ["1970-01-01", "2024-01-01"]);
    let source = Database::new(Product::Mariadb, "CREATE TABLE t(g point);");
    let file = format!(
        "[reader]\n{}table = \"t\"\n[writer]\nplugin = \"file\"\npath = \"out.csv\"\n",
        source.address(None)
    );
    let (ended, _) = workplace.job(&file);
    ended.exits(2).says("column `g` is `point`, which is not supported");
}

/// Types of the server that do not pass untouched: their logical types hold every value, or they
/// mean something in one database only.
const NOT_NATIVE: &[&str] = &[
    "aclitem",
    "bigint",
    "boolean",
    "bytea",
    "character",
    "character varying",
    "double precision",
    "gtsvector",
    "integer",
    "json",
    "jsonb",
    "name",
    "numeric",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
    "real",
    "refcursor",
    "smallint",
    "text",
    "uuid",
    "xml",
];

#[test]
fn every_type_of_the_server_has_been_thought_of() {
    let database = Database::new(Product::Postgres, "");
    let types = database.lines(
        "SELECT format_type(oid, NULL) FROM pg_type WHERE oid < 16384 AND typtype IN ('b', 'r', 'm') \
         AND typcategory <> 'A' AND typname NOT LIKE 'reg%' ORDER BY 1",
    );
    let columns: Vec<_> =
        types.iter().enumerate().map(|(at, name)| format!("c{at} {name}")).collect();
    let sql = format!("CREATE TABLE t(id bigint, {});", columns.join(", "));
    database.run(&sql);
    let target = Database::new(Product::Postgres, &sql);
    let workplace = Workplace::new();
    let verdicts = verdicts(&workplace, &job(&database, "", &target, ""));
    let found = types.iter().zip(&verdicts).filter(|(_, verdict)| *verdict != "native");
    let found: Vec<_> = found.map(|(name, _)| name.as_str()).collect();
    assert_eq!(found, NOT_NATIVE);
}
