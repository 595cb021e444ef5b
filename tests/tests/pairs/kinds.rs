//! The table for all pairs: the kinds of columns, their type in each store, their edge values, and
//! the text that each store's own client shows for a value.

use super::stores::Store::{self, Csv, Jsonl, Mariadb, Mysql, Parquet, Postgres, Sqlite};

pub(crate) const PG: &[Store] = &[Postgres];
pub(crate) const MY: &[Store] = &[Mariadb, Mysql];
pub(crate) const LITE: &[Store] = &[Sqlite];
pub(crate) const FILES: &[Store] = &[Csv, Jsonl];
const JSONL: &[Store] = &[Jsonl];
const PARQUET: &[Store] = &[Parquet];

/// A kind of column.
pub(crate) struct Kind {
    /// The column's name.
    pub(crate) name: &'static str,
    /// Its type in a job's own schema, for files.
    pub(crate) logical: &'static str,
    /// Its native type in stores that can be a source for it.
    pub(crate) gives: Vec<(Store, &'static str)>,
    /// Its native type in stores that can be a target for it.
    pub(crate) takes: Vec<(Store, &'static str)>,
    pub(crate) values: Vec<Value>,
    /// The text that a store's client shows for a value.
    pub(crate) shown: fn(Store, &str) -> String,
    /// The text that a client shows, normalized.
    pub(crate) settled: fn(Store, String) -> String,
    /// Whether the target keeps the text of the source, whose form is the source's choice.
    pub(crate) kept: bool,
    /// Whether JSON needs no quotes around it.
    pub(crate) bare: bool,
    /// Whether files need the type declared even if the target's column has one.
    pub(crate) declared: bool,
}

pub(crate) struct Value {
    pub(crate) text: String,
    /// The text inserted into the source, if it differs from the text shown.
    pub(crate) entered: Option<String>,
    /// Stores that cannot represent it: as targets they refuse the row.
    pub(crate) not_in: Vec<Store>,
}

impl Kind {
    pub(crate) fn native(list: &[(Store, &'static str)], store: Store) -> Option<&'static str> {
        list.iter().find(|(found, _)| *found == store).map(|(_, native)| *native)
    }

    fn is(self, stores: &[Store], native: &'static str) -> Self {
        self.from(stores, native).into(stores, native)
    }

    fn from(mut self, stores: &[Store], native: &'static str) -> Self {
        self.gives.extend(stores.iter().map(|store| (*store, native)));
        self
    }

    fn into(mut self, stores: &[Store], native: &'static str) -> Self {
        self.takes.extend(stores.iter().map(|store| (*store, native)));
        self
    }

    fn files(self) -> Self {
        self.is(FILES, "")
    }

    fn bare(self) -> Self {
        Self { bare: true, ..self }
    }

    fn declared(self) -> Self {
        Self { declared: true, ..self }
    }

    fn values<T: Into<String> + Copy>(self, texts: &[T]) -> Self {
        self.except(&[], texts)
    }

    /// Adds values that some stores cannot represent.
    fn except<T: Into<String> + Copy>(mut self, stores: &[&[Store]], texts: &[T]) -> Self {
        let not_in = stores.concat();
        let value =
            |text: &T| Value { text: (*text).into(), entered: None, not_in: not_in.clone() };
        self.values.extend(texts.iter().map(value));
        self
    }

    /// Adds a value that is shown differently from how it was entered.
    fn entered(mut self, entered: &str, text: &str) -> Self {
        let entered = Some(entered.to_owned());
        self.values.push(Value { text: text.to_owned(), entered, not_in: Vec::new() });
        self
    }

    fn shown(self, shown: fn(Store, &str) -> String) -> Self {
        Self { shown, ..self }
    }

    fn settled(self, settled: fn(Store, String) -> String) -> Self {
        Self { settled, ..self }
    }
}

fn kind(name: &'static str, logical: &'static str) -> Kind {
    Kind {
        name,
        logical,
        gives: Vec::new(),
        takes: Vec::new(),
        values: Vec::new(),
        shown: |_, text| text.to_owned(),
        settled: |_, text| text,
        kept: false,
        bare: false,
        declared: false,
    }
}

pub(crate) fn kinds() -> Vec<Kind> {
    let kinds = [integers(), fractions(), texts(), moments(), others()];
    kinds.into_iter().flatten().map(in_parquet).collect()
}

/// Parquet has the types of text files, as they are declared.
fn in_parquet(mut kind: Kind) -> Kind {
    let has = |list: &[(Store, &'static str)]| Kind::native(list, Jsonl).is_some();
    // Other readers see a number of any size as text, because Parquet has no type for it.
    if has(&kind.gives) && kind.logical != "numeric" {
        kind.gives.push((Parquet, kind.logical));
    }
    if has(&kind.takes) {
        kind.takes.push((Parquet, kind.logical));
    }
    kind
}

fn integers() -> Vec<Kind> {
    vec![
        kind("truth", "boolean")
            .is(PG, "boolean")
            .into(MY, "TINYINT(1)")
            .is(LITE, "BOOLEAN")
            .files()
            .values(&["true", "false"])
            .shown(truth)
            .bare()
            .declared(),
        // T20: a number, whatever its declaration suggests.
        kind("flag", "int8")
            .into(PG, "smallint")
            .is(MY, "TINYINT(1)")
            .is(LITE, "TINYINT")
            .files()
            .values(&["-1", "0", "1", "2", "127"])
            .bare(),
        kind("i8", "int8")
            .into(PG, "smallint")
            .is(MY, "TINYINT")
            .is(LITE, "TINYINT")
            .files()
            .values(&["-128", "127"])
            .bare(),
        kind("i16", "int16")
            .is(PG, "smallint")
            .is(MY, "SMALLINT")
            .is(LITE, "SMALLINT")
            .files()
            .values(&["-32768", "0", "32767"])
            .bare(),
        kind("i32", "int32")
            .is(PG, "integer")
            .is(MY, "INT")
            .is(LITE, "INT4")
            .files()
            .values(&["-2147483648", "2147483647"])
            .bare(),
        kind("i64", "int64")
            .is(PG, "bigint")
            .is(MY, "BIGINT")
            .is(LITE, "INTEGER")
            .files()
            .values(&["-9223372036854775808", "-1", "9007199254740993", "9223372036854775807"])
            .bare(),
        kind("u8", "uint8")
            .into(PG, "smallint")
            .is(MY, "TINYINT UNSIGNED")
            .is(LITE, "TINYINT UNSIGNED")
            .files()
            .values(&["0", "255"])
            .bare(),
        kind("u16", "uint16")
            .into(PG, "integer")
            .is(MY, "SMALLINT UNSIGNED")
            .is(LITE, "SMALLINT UNSIGNED")
            .files()
            .values(&["65535"])
            .bare(),
        kind("u32", "uint32")
            .into(PG, "bigint")
            .is(MY, "INT UNSIGNED")
            .is(LITE, "INT4 UNSIGNED")
            .files()
            .values(&["4294967295"])
            .bare(),
        kind("u64", "uint64")
            .into(PG, "numeric(20,0)")
            .is(MY, "BIGINT UNSIGNED")
            .is(LITE, "BIGINT UNSIGNED")
            .files()
            .values(&["0", "9223372036854775807"])
            .except(&[LITE], &["9223372036854775808", "18446744073709551615"])
            .bare(),
        kind("year", "uint16")
            .into(PG, "integer")
            .from(MY, "YEAR")
            .into(MY, "SMALLINT UNSIGNED")
            .into(LITE, "SMALLINT UNSIGNED")
            .into(FILES, "")
            .values(&["1901", "2155"])
            .entered("0000", "0")
            .bare(),
    ]
}

fn fractions() -> Vec<Kind> {
    let digits = "12345678901234567890123456789012345.123456789012345678901234567890";
    let all_digits = "99999999999999999999999999999999999.999999999999999999999999999999";
    vec![
        kind("real4", "float32")
            .is(PG, "real")
            .is(MY, "FLOAT")
            .is(LITE, "FLOAT4")
            .files()
            .values(&[
                "0.0",
                "0.1",
                "-1.5",
                "1.17549435e-38",
                "3.4028234663852886e38",
                "16777216.0",
            ])
            .except(&[MY, JSONL], &["inf", "-inf"])
            .except(&[MY, LITE, JSONL], &["NaN"])
            .except(&[MY, LITE], &["-0.0"])
            .shown(single)
            .settled(|store, text| single(store, &text))
            .bare(),
        kind("real8", "float64")
            .is(PG, "double precision")
            .is(MY, "DOUBLE")
            .is(LITE, "REAL")
            .files()
            .values(&[
                "0.0",
                "0.30000000000000004",
                "5e-324",
                "-2.2250738585072014e-308",
                "1.7976931348623157e308",
                "9007199254740992.0",
                "1e22",
            ])
            .except(&[MY, JSONL], &["inf", "-inf"])
            .except(&[MY, LITE, JSONL], &["NaN"])
            .except(&[MY, LITE], &["-0.0"])
            .settled(|_, text| as_double(&text))
            .bare(),
        kind("price", "decimal(15,2)")
            .is(PG, "numeric(15,2)")
            .is(MY, "DECIMAL(15,2)")
            .is(LITE, "DECIMAL(15,2)")
            .files()
            .values(&["0.00", "1.10", "-0.01", "9999999999999.99", "-9999999999999.99"])
            .entered("-0.00", "0.00")
            .shown(price)
            .bare(),
        kind("exact", "decimal(38,10)")
            .is(PG, "numeric(38,10)")
            .is(MY, "DECIMAL(38,10)")
            .is(LITE, "DECIMAL_TEXT(38,10)")
            .files()
            .bare()
            .values(&[
                "0.0000000000",
                "9999999999999999999999999999.9999999999",
                "-0.0000000001",
                "1.1000000000",
            ]),
        kind("vast", "decimal(65,30)")
            .is(PG, "numeric(65,30)")
            .is(MY, "DECIMAL(65,30)")
            .is(LITE, "DECIMAL_TEXT(65,30)")
            .files()
            .bare()
            .values(&[digits, all_digits, "-0.000000000000000000000000000001"]),
        // Any size, and values that no decimal type has.
        kind("unbounded", "numeric")
            .is(PG, "numeric")
            .is(LITE, "NUMERIC_TEXT")
            .files()
            .bare()
            .values(&[
                "0",
                "1.10",
                "-123456789012345678901234567890123456789012345678901234567890\
                1234567890.123456789",
            ])
            .except(&[JSONL], &["NaN", "Infinity", "-Infinity"]),
    ]
}

fn texts() -> Vec<Kind> {
    let long = "long \u{1F600} ".repeat(12_000);
    let quotes = "it's \"quoted\" `so` $$ and :this, 100% \\N \\x41 NULL";
    let lines = "one\ntwo\r\nthree\rfour\ttab";
    let letters = ["", "a", " both ends ", "NULL", quotes, lines, "\u{1F600} é 表 \u{FEFF}", &long];
    let bytes: String = (0..=255).map(|byte| format!("{byte:02x}")).collect();
    vec![
        kind("words", "text")
            .is(PG, "text")
            .is(MY, "LONGTEXT")
            .is(LITE, "TEXT")
            .files()
            .values(&letters)
            .except(&[PG], &["nul \0 inside"]),
        kind("short", "text(5)")
            .is(PG, "varchar(5)")
            .is(MY, "VARCHAR(5)")
            .is(LITE, "VARCHAR(5)")
            .files()
            .values(&["", "12345", "a\u{1F600}b表é", "12   "]),
        kind("label", "text")
            .from(PG, "mood")
            .from(MY, "ENUM('it''s, so','b','é')")
            .into(PG, "mood")
            .into(MY, "ENUM('it''s, so','b','é')")
            .into(LITE, "TEXT")
            .into(FILES, "")
            .values(&["it's, so", "b", "é"]),
        kind("several", "text")
            .into(PG, "text")
            .is(MY, "SET('a','b','c')")
            .into(LITE, "TEXT")
            .into(FILES, "")
            .values(&["", "a,c", "b"]),
        kind("address", "text")
            .from(PG, "inet")
            .into(PG, "inet")
            .into(MY, "LONGTEXT")
            .into(LITE, "TEXT")
            .into(FILES, "")
            .values(&["192.168.0.0/24", "2001:db8::/32"]),
        kind("span", "text")
            .from(PG, "int4range")
            .into(PG, "int4range")
            .into(MY, "LONGTEXT")
            .into(LITE, "TEXT")
            .into(FILES, "")
            .values(&["[1,5)", "empty"]),
        kind("bytes", "binary")
            .is(PG, "bytea")
            .is(MY, "LONGBLOB")
            .is(LITE, "BLOB")
            .files()
            .values(&["", "00", "ff00", "5c783431", &bytes]),
        // A bit string keeps its length in bytes.
        kind("bits", "binary")
            .into(PG, "bytea")
            .from(MY, "BIT(10)")
            .into(MY, "VARBINARY(2)")
            .into(LITE, "BLOB")
            .into(FILES, "")
            .values(&["0000", "03ff", "0201"]),
    ]
}

fn moments() -> Vec<Kind> {
    let walls = [
        "0001-01-01 00:00:00",
        "1969-12-31 23:59:59.999999",
        "2024-02-29 12:00:00.1",
        "2024-03-31 02:30:00",
        "2024-10-27 02:30:00",
        "9999-12-31 23:59:59.999999",
    ];
    let instants = [
        "1970-01-01T00:00:01Z",
        "2024-03-31T00:59:59.999999Z",
        "2024-03-31T01:00:00Z",
        "2024-10-27T00:30:00Z",
        "2024-10-27T01:30:00Z",
        "2038-01-19T03:14:07Z",
    ];
    vec![
        kind("day", "date").is(PG, "date").is(MY, "DATE").is(LITE, "DATE").files().values(&[
            "0001-01-01",
            "1582-10-10",
            "1970-01-01",
            "2024-02-29",
            "9999-12-31",
        ]),
        kind("clock", "time")
            .is(PG, "time")
            .into(MY, "TIME(6)")
            .is(LITE, "TIME")
            .files()
            .values(&["00:00:00", "12:34:56.5", "23:59:59.999999"])
            .settled(short_fraction),
        kind("lapse", "duration")
            .into(PG, "interval")
            .is(MY, "TIME(6)")
            .is(LITE, "DURATION")
            .files()
            .values(&["00:00:00", "-00:00:00.000001", "24:00:00", "-838:59:58.999999", "838:59:59"])
            .except(&[&[Mysql]], &["838:59:59.999999", "-838:59:59.999999"])
            .settled(short_fraction)
            .declared(),
        kind("wall", "timestamp")
            .is(PG, "timestamp")
            .is(MY, "DATETIME(6)")
            .is(LITE, "DATETIME")
            .files()
            .values(&walls)
            .settled(short_fraction),
        kind("second", "timestamp(0)")
            .is(PG, "timestamp(0)")
            .is(MY, "DATETIME")
            .is(LITE, "DATETIME(0)")
            .files()
            .values(&["2024-12-31 23:59:59"]),
        kind("instant", "timestamptz")
            .is(PG, "timestamptz")
            .is(MY, "TIMESTAMP(6) NULL")
            .is(LITE, "TIMESTAMPTZ")
            .files()
            .values(&instants)
            .except(
                &[MY],
                &["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"],
            )
            .shown(instant)
            .settled(short_fraction),
    ]
}

fn others() -> Vec<Kind> {
    let documents = [
        r#"{"a":12345678901234567890,"b":1.10}"#,
        r#"[1, {"k": "\"\\ \u00e9"}, null]"#,
        r#""text""#,
        "-0.5e-7",
        "true",
    ];
    let mut document = kind("document", "json")
        .is(PG, "json")
        .is(MY, "JSON")
        .is(LITE, "JSON_TEXT")
        .files()
        .values(&documents)
        .shown(document)
        .bare();
    document.kept = true;
    vec![
        document,
        kind("id128", "uuid")
            .is(PG, "uuid")
            .from(&[Mariadb], "UUID")
            .into(MY, "BINARY(16)")
            .is(LITE, "UUID")
            .files()
            .shown(id128)
            .settled(|_, text| text.to_lowercase())
            .values(&[
                "00000000-0000-0000-0000-000000000000",
                "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            ])
            .declared(),
        // Parquet's intervals have no sign and no microseconds.
        kind("calendar", "interval")
            .is(PG, "interval")
            .into(PARQUET, "")
            .values(&["00:00:00", "1 year 2 mons 3 days 04:05:06.007"])
            .except(&[PARQUET], &["1 year 2 mons 3 days 04:05:06.000007", "-1 mons +30 days"])
            .shown(calendar),
        kind("list", "list<int32>")
            .is(PG, "integer[]")
            .into(MY, "LONGTEXT")
            .into(LITE, "TEXT")
            .into(FILES, "")
            .from(PARQUET, "")
            .bare()
            .shown(list)
            // MySQL rewrites what is in a column of type JSON.
            .settled(|store, text| if store == Mysql { text.replace(", ", ",") } else { text })
            .values(&["[]", "[1,null,-3]"]),
    ]
}

fn truth(store: Store, text: &str) -> String {
    match (store, text) {
        (Mariadb | Mysql | Sqlite, "true") => "1".to_owned(),
        (Mariadb | Mysql | Sqlite, _) => "0".to_owned(),
        (Postgres, _) => text[..1].to_owned(),
        _ => text.to_owned(),
    }
}

fn as_single(text: &str) -> String {
    format!("{:?}", text.parse::<f32>().unwrap_or_else(|_| panic!("no number: {text}")))
}

fn as_double(text: &str) -> String {
    format!("{:?}", text.parse::<f64>().unwrap_or_else(|_| panic!("no number: {text}")))
}

/// The shortest text of a single is another number as a double; SQLite stores the double, and
/// MySQL's range check uses it.
fn single(store: Store, text: &str) -> String {
    match store {
        Mariadb | Mysql | Sqlite => format!("{:?}", text.parse::<f32>().map(f64::from).unwrap()),
        _ => as_single(text),
    }
}

/// SQLite converts it to a number without trailing zeros.
fn price(store: Store, text: &str) -> String {
    match store {
        Sqlite => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        _ => text.to_owned(),
    }
}

/// Servers show as many digits as the type has, files as many as the value has.
fn short_fraction(_: Store, text: String) -> String {
    let (whole, zone) = match text.strip_suffix("+00") {
        Some(rest) => (rest, "+00"),
        None => match text.strip_suffix('Z') {
            Some(rest) => (rest, "Z"),
            None => (text.as_str(), ""),
        },
    };
    let whole = match whole.contains('.') {
        true => whole.trim_end_matches('0').trim_end_matches('.'),
        false => whole,
    };
    format!("{whole}{zone}")
}

fn instant(store: Store, text: &str) -> String {
    match store {
        Postgres => text.replace('T', " ").replace('Z', "+00"),
        Mariadb | Mysql => text.replace('T', " ").replace('Z', ""),
        Sqlite => text.replace('T', " "),
        _ => text.to_owned(),
    }
}

fn id128(store: Store, text: &str) -> String {
    if MY.contains(&store) { text.replace('-', "") } else { text.to_owned() }
}

/// MySQL keeps the values, all others keep the text.
fn document(store: Store, text: &str) -> String {
    match (store, text) {
        (Mysql, r#"{"a":12345678901234567890,"b":1.10}"#) => {
            r#"{"a": 12345678901234567890, "b": 1.1}"#.to_owned()
        }
        (Mysql, r#"[1, {"k": "\"\\ \u00e9"}, null]"#) => r#"[1, {"k": "\"\\ é"}, null]"#.to_owned(),
        (Mysql, "-0.5e-7") => "-0.00000005".to_owned(),
        _ => text.to_owned(),
    }
}

/// Parquet's intervals are months, days and milliseconds of four bytes each, and the readers have
/// no text form for them.
fn calendar(store: Store, text: &str) -> String {
    match (store, text) {
        (Parquet, "00:00:00") => "0".repeat(24),
        (Parquet, _) => "0e000000030000005765e000".to_owned(),
        _ => text.to_owned(),
    }
}

fn list(store: Store, text: &str) -> String {
    match store {
        Postgres => text.replace('[', "{").replace(']', "}").replace("null", "NULL"),
        _ => text.to_owned(),
    }
}
