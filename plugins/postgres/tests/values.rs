//! Values: what is read back is what was written; a value that would change makes a dirty row.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
    IntervalMonthDayNanoArray, ListArray, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow_buffer::{IntervalMonthDayNano, OffsetBuffer};
use arrow_schema::DataType;
use support::{Fixture, batch, integers, open_first, plan, read_all, texts, write_all};
use transload_plugin_api::{ErrorKind, LogicalType, WriteMode, WritePlan, testing::Rows};

/// Writes one column into `t(v)`, with the table's types in the plan; returns each dirty row's
/// place and code.
fn write(fixture: &Fixture, logical: &str, values: ArrayRef) -> Vec<(u64, String)> {
    write_columns(fixture, &[("v", logical)], vec![values])
}

fn write_columns(
    fixture: &Fixture,
    columns: &[(&str, &str)],
    values: Vec<ArrayRef>,
) -> Vec<(u64, String)> {
    let plan = plan(WriteMode::Insert, columns, &[]);
    let written = write_all(&*fixture.writer("t"), &plan, &[batch(&plan, values)]).unwrap();
    written[0].dirty.iter().map(|row| (row.row, row.code.clone())).collect()
}

/// The cells of the first column, as the plugin reads them.
fn read(fixture: &Fixture) -> Vec<String> {
    let read = read_all(&*fixture.reader(&[("table", "t")]), 1);
    let rows = |batch: &arrow_array::RecordBatch| -> Vec<String> {
        let all = Rows::of(std::slice::from_ref(batch));
        (0..batch.num_rows()).map(|row| all.row(row)[0].clone()).collect()
    };
    read.iter().flatten().flat_map(|read| rows(&read.batch)).collect()
}

/// The type that the writer requests for a column of this type.
fn asked_for(fixture: &Fixture, logical: &str) -> String {
    let plan = plan(WriteMode::Insert, &[("v", logical)], &[]);
    fixture.writer("t").draft(&plan).unwrap().columns[0].logical.to_string()
}

fn quoted(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| format!("\"{text}\"")).collect()
}

#[test]
fn t17_unsigned_numbers_of_64_bits_go_to_numeric_20() {
    let fixture = Fixture::new("");
    let mut plan = plan(WriteMode::Insert, &[("v", "uint64")], &[]);
    plan.create_table = true;
    let writer = fixture.writer("t");
    plan.columns = writer.draft(&plan).unwrap().columns;
    assert_eq!(plan.columns[0].logical.to_string(), "decimal(20,0)");
    let most = Decimal128Array::from(vec![i128::from(u64::MAX)]);
    let most = most.with_precision_and_scale(20, 0).unwrap();
    write_all(&*writer, &plan, &[batch(&plan, vec![Arc::new(most)])]).unwrap();
    assert_eq!(fixture.rows("SELECT v FROM t"), ["18446744073709551615"]);
    assert_eq!(read(&fixture), ["18446744073709551615"]);
    let signed = Fixture::new("CREATE TABLE t(v bigint)");
    assert_eq!(asked_for(&signed, "uint64"), "int64", "so that the host checks each value");
}

#[test]
fn t19_floats_keep_every_bit() {
    let values = [0.1 + 0.2, 5e-324, f64::MAX, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    let fixture = Fixture::new("CREATE TABLE t(v float8)");
    let wide: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
    assert_eq!(write(&fixture, "float64", wide), []);
    let texts =
        ["0.30000000000000004", "5e-324", "1.7976931348623157e+308", "-0", "Infinity", "-Infinity"];
    assert_eq!(fixture.rows("SELECT v FROM t")[..6], texts);
    let mut task = open_first(&*fixture.reader(&[("table", "t")]));
    let read = task.next_batch().unwrap().unwrap();
    let read = read.batch.column(0).as_any().downcast_ref::<Float64Array>().unwrap();
    for (found, written) in read.values().iter().zip(values) {
        assert_eq!(found.to_bits(), written.to_bits());
    }
    let fixture = Fixture::new("CREATE TABLE t(v float4)");
    let narrow: ArrayRef = Arc::new(Float32Array::from(vec![0.1, f32::MIN_POSITIVE, f32::NAN]));
    assert_eq!(write(&fixture, "float32", narrow), []);
    assert_eq!(fixture.rows("SELECT v FROM t"), ["0.1", "1.1754944e-38", "NaN"]);
}

#[test]
fn t20_a_number_becomes_a_boolean_by_the_target_alone() {
    for (native, asked) in [("boolean", "boolean"), ("smallint", "int16")] {
        let fixture = Fixture::new(&format!("CREATE TABLE t(v {native})"));
        assert_eq!(asked_for(&fixture, "int8"), asked);
    }
    let fixture = Fixture::new("CREATE TABLE t(v smallint)");
    let numbers: ArrayRef = Arc::new(Int16Array::from(vec![-1, 0, 1, 2, 127]));
    assert_eq!(write(&fixture, "int16", numbers), []);
    assert_eq!(read(&fixture), ["-1", "0", "1", "2", "127"]);
}

#[test]
fn t21_bit_strings_keep_their_length() {
    let long = "10".repeat(32);
    for (native, good, bad) in [
        ("bit(1)", vec!["0", "1"], "10"),
        ("bit(10)", vec!["0000000001", "1111111111"], "111111111"),
        ("bit(64)", vec![long.as_str()], "1"),
        ("bit varying(5)", vec!["", "0", "00010"], "000100"),
        ("three", vec!["101"], "1010"),
    ] {
        let fixture =
            Fixture::new(&format!("CREATE DOMAIN three AS bit(3); CREATE TABLE t(v {native})"));
        let mut all = good.clone();
        all.extend([bad, "12"]);
        let dirty = write(&fixture, "text", texts(all));
        let places: Vec<_> = dirty.iter().map(|(row, _)| *row as usize).collect();
        assert_eq!(places, [good.len(), good.len() + 1], "{native}: {dirty:?}");
        assert_eq!(read(&fixture), quoted(&good), "{native}");
    }
}

#[test]
fn t23_fractions_are_neither_rounded_nor_cut() {
    let micros = [123_456, 123_000, 999_999, 0];
    for (native, dirty) in [
        ("timestamp(6)", vec![]),
        ("timestamp(3)", vec![0, 2]),
        ("timestamp(0)", vec![0, 1, 2]),
        ("time(3)", vec![0, 2]),
    ] {
        let fixture = Fixture::new(&format!("CREATE TABLE t(v {native})"));
        let asked =
            asked_for(&fixture, if native.starts_with("time(") { "time" } else { "timestamp" });
        let values: ArrayRef = match asked.starts_with("timestamp") {
            true => Arc::new(TimestampMicrosecondArray::from(micros.to_vec())),
            false => Arc::new(Time64MicrosecondArray::from(micros.to_vec())),
        };
        let found: Vec<_> = write(&fixture, &asked, values).into_iter().map(|row| row.0).collect();
        assert_eq!(found, dirty, "{native} is asked for as {asked}");
    }
    for native in
        ["interval(3)", "interval day", "time(0) with time zone", "rough", "money", "\"char\""]
    {
        let fixture = Fixture::new(&format!(
            "CREATE DOMAIN rough AS interval(3); CREATE TABLE t(v {native})"
        ));
        let plan = plan(WriteMode::Insert, &[("v", "interval")], &[]);
        let error = fixture.writer("t").draft(&plan).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported, "{native}");
        assert!(error.message.contains("`v`") && error.message.contains("round"), "{error}");
    }
    let fixture = Fixture::new("CREATE TABLE t AS SELECT timestamp '1999-12-31 23:59:59.999999' v");
    assert_eq!(read(&fixture), ["1999-12-31 23:59:59.999999"]);
}

/// Time zones of the server's sessions, an hour that a clock skipped and one that occurred twice.
#[test]
fn t24_t25_no_zone_shifts_a_wall_clock_or_a_date() {
    for zone in ["Pacific/Kiritimati", "Europe/Berlin", "Etc/GMT+12"] {
        let fixture = Fixture::new(&format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''{zone}''', \
               current_database()); END $$;
             CREATE TABLE t(w timestamp, i timestamptz, d date)"
        ));
        let skipped = 1_711_852_200_000_000; // 2024-03-31 02:30
        let twice = 1_729_996_200_000_000; // 2024-10-27 02:30
        let clocks = [skipped, twice, -62_135_596_800_000_000];
        let (first, last) = (-719_162, 2_932_896); // 0001-01-01, 9999-12-31
        let dirty = write_columns(
            &fixture,
            &[("w", "timestamp"), ("i", "timestamptz"), ("d", "date")],
            vec![
                Arc::new(TimestampMicrosecondArray::from(clocks.to_vec())),
                Arc::new(TimestampMicrosecondArray::from(clocks.to_vec()).with_timezone("UTC")),
                Arc::new(Date32Array::from(vec![0, first, last])),
            ],
        );
        assert_eq!(dirty, []);
        assert_eq!(
            fixture.rows("SELECT w::text, (i AT TIME ZONE 'UTC')::text, d::text FROM t"),
            [
                "2024-03-31 02:30:00|2024-03-31 02:30:00|1970-01-01",
                "2024-10-27 02:30:00|2024-10-27 02:30:00|0001-01-01",
                "0001-01-01 00:00:00|0001-01-01 00:00:00|9999-12-31",
            ]
        );
        let read = read_all(&*fixture.reader(&[("table", "t")]), 1);
        let rows = Rows::of(&[read[0][0].batch.clone()]);
        assert_eq!(rows.row(0), ["2024-03-31 02:30:00", "2024-03-31 02:30:00Z", "1970-01-01"]);
        assert_eq!(rows.row(2)[2], "9999-12-31");
    }
}

#[test]
fn t26_spans_beyond_a_day_are_intervals() {
    let fixture = Fixture::new("CREATE TABLE t(v interval)");
    assert_eq!(asked_for(&fixture, "duration"), "interval");
    let most = -3_020_399_999_999_000; // -838:59:59.999999
    let spans = [(0, 0, most), (14, -3, 1_000), (0, 0, 1), (0, 0, i64::MAX)];
    let spans = spans.map(|(months, days, nanos)| IntervalMonthDayNano::new(months, days, nanos));
    let spans: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(spans.to_vec()));
    let range = |row| (row, "range".to_owned());
    assert_eq!(write(&fixture, "interval", spans), [range(2), range(3)]);
    assert_eq!(
        fixture.rows("SELECT v FROM t"),
        ["-838:59:59.999999", "1 year 2 mons -3 days +00:00:00.000001"]
    );
    assert_eq!(
        read(&fixture),
        [format!("0 months 0 days {most} ns"), "14 months -3 days 1000 ns".to_owned()]
    );
    let fixture = Fixture::new("CREATE TABLE t(v time)");
    let times: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![0, 86_400_000_000, -1]));
    assert_eq!(write(&fixture, "time", times), [range(1), range(2)]);
    let fixture = Fixture::new("CREATE TABLE t(v timetz)");
    let dirty = write(&fixture, "text", texts(["12:00:00+09", "23:59:59.5-03:30", "25:00+00"]));
    assert_eq!(dirty, [range(2)]);
    assert_eq!(read(&fixture), quoted(&["12:00:00+09", "23:59:59.5-03:30"]));
}

#[test]
fn t29_t32_texts_are_counted_in_characters_and_never_cut() {
    let fixture = Fixture::new("CREATE TABLE t(v varchar(5))");
    let words = ["a😀b", "😀😀😀😀😀", "😀😀😀😀😀😀", "abcde", "abcdef", "abcde ", ""];
    let length = |row| (row, "length".to_owned());
    assert_eq!(write(&fixture, "text", texts(words)), [length(2), length(4), length(5)]);
    assert_eq!(read(&fixture), quoted(&["a😀b", "😀😀😀😀😀", "abcde", ""]));
    let fixture = Fixture::new("CREATE TABLE t(v char(3))");
    assert_eq!(write(&fixture, "text", texts(["é", "abcd"])), [length(1)]);
    assert_eq!(read(&fixture), quoted(&["é"]), "blanks that fill char(n) up are not read");
}

#[test]
fn t31_the_character_of_no_number_is_refused() {
    for (native, logical, good, bad) in [
        ("text", "text", "ab", "a\0b"),
        ("jsonb", "json", "{\"k\": \"\\\\u0000\"}", "{\"k\":\"\\u0000\"}"),
        ("text[]", "list<text>", "", ""),
    ] {
        let fixture = Fixture::new(&format!("CREATE TABLE t(v {native})"));
        if logical == "list<text>" {
            let field = Arc::new("text".parse::<transload_plugin_api::LogicalType>().unwrap());
            let mut lists =
                arrow_array::builder::ListBuilder::new(arrow_array::builder::StringBuilder::new())
                    .with_field(field.field("item", true));
            lists.append_value([Some("a\0b")]);
            lists.append_value([Some("ab"), None]);
            let dirty = write(&fixture, logical, Arc::new(lists.finish()));
            assert_eq!(dirty, [(0, "utf8".to_owned())]);
            assert_eq!(fixture.rows("SELECT v FROM t"), ["{ab,NULL}"]);
            continue;
        }
        assert_eq!(write(&fixture, logical, texts([bad, good])), [(0, "utf8".to_owned())]);
        assert_eq!(fixture.rows("SELECT v FROM t"), [good], "{native}");
    }
}

#[test]
fn t33_numbers_out_of_range_are_refused_and_not_clamped() {
    let fixture = Fixture::new("CREATE TABLE t(v oid)");
    let range = |row| (row, "range".to_owned());
    let dirty = write(&fixture, "text", texts(["4294967295", "4294967296", "99999999999"]));
    assert_eq!(dirty, [range(1), range(2)]);
    assert_eq!(fixture.rows("SELECT v FROM t"), ["4294967295"]);
    for (native, asked) in [("smallint", "int16"), ("int", "int32"), ("real", "float32")] {
        let fixture = Fixture::new(&format!("CREATE TABLE t(v {native})"));
        assert_eq!(asked_for(&fixture, "int64"), asked, "so that the host checks each value");
    }
}

#[test]
fn t34_json_keeps_its_text_and_jsonb_its_numbers() {
    let text = "{\"b\": 12345678901234567890, \"a\":1.10,  \"a\": 2}";
    let fixture = Fixture::new("CREATE TABLE t(v json)");
    assert_eq!(write(&fixture, "json", texts([text, "{"])), [(1, "parse".to_owned())]);
    assert_eq!(fixture.rows("SELECT v FROM t"), [text]);
    let fixture = Fixture::new("CREATE TABLE t(v jsonb)");
    assert_eq!(write(&fixture, "json", texts([text, "NaN"])), [(1, "parse".to_owned())]);
    assert_eq!(fixture.rows("SELECT v FROM t"), ["{\"a\": 2, \"b\": 12345678901234567890}"]);
    let draft = fixture.writer("t").draft(&plan(WriteMode::Insert, &[("v", "json")], &[])).unwrap();
    assert!(draft.warnings.iter().any(|warning| warning.contains("`v` is jsonb")));
}

#[test]
fn t18_numbers_with_an_exponent_are_numbers() {
    let fixture = Fixture::new("CREATE TABLE t(v numeric)");
    let dirty = write(&fixture, "numeric", texts(["1e5", "-1.50E+1", "12e-3", "1e", "1e200000"]));
    assert_eq!(dirty, [(3, "parse".to_owned()), (4, "range".to_owned())]);
    let found = fixture.rows("SELECT v::text FROM t");
    assert_eq!(found, ["100000", "-15.0", "0.012"]);
    // Elements of arrays are bounded like columns.
    let fixture = Fixture::new("CREATE TABLE t(v numeric(5,-2)[])");
    let logical: LogicalType = "list<numeric>".parse().unwrap();
    let DataType::List(item) = logical.data_type() else { panic!("{logical}") };
    let numbers = Arc::new(StringArray::from(vec!["12300", "12345"]));
    let lists = ListArray::new(item, OffsetBuffer::from_lengths([1, 1]), numbers, None);
    let dirty = write(&fixture, "list<numeric>", Arc::new(lists));
    assert_eq!(dirty, [(1, "range".to_owned())]);
}

/// Texts that a type might wrap, cut or round.
const PROBES: &[&str] = &[
    "-1",
    "5000000000",
    "18446744073709551616",
    "1e39",
    "1e-400",
    "1.00000000000000001",
    "abc",
    "12:00:00.1234567+00",
    "2024-01-01 00:00:00.1234567",
    "[2024-01-01 00:00:00.1234567,2024-01-02)",
    "{[2024-01-01 00:00:00.1234567,2024-01-02)}",
    "1.239",
    "(-1,0)",
    "(1,70000)",
    "'a':20000",
    "-1 2",
    "1 2 99999",
    "[1,99999999999)",
    "FFFFFFFF/1FFFFFFFF",
    "1:2:18446744073709551617",
];

/// Whether what the server makes of a text is the same value in another spelling, or the nearest
/// double, as for every float.
fn is_spelling(kind: &str, text: &str, found: &str) -> bool {
    match kind {
        // Numbers in full, the bounds of whole numbers in one form, the zeros of an address.
        "jsonpath" | "int4range" | "int8range" | "cidr" => true,
        "point" | "box" | "lseg" | "path" | "polygon" | "line" | "circle" => true,
        "tsquery" => found.replace('\'', "") == text.replace(['(', ')', '\''], ""),
        _ => false,
    }
}

/// Each type of the server either refuses a text, or holds what the text says, or is refused by the
/// plan. A type of a later server that does none of the three fails here.
#[test]
fn no_type_wraps_cuts_or_rounds_a_text() {
    let fixture = Fixture::new("");
    let kinds = fixture.rows(
        "SELECT format_type(oid, -1) FROM pg_type WHERE typtype IN ('b', 'r', 'm') \
         AND typcategory <> 'A' AND typnamespace = 'pg_catalog'::regnamespace \
         AND typname NOT LIKE 'pg\\_%' AND typname <> 'gtsvector' ORDER BY oid",
    );
    assert!(kinds.len() > 50, "{kinds:?}");
    let (mut refused, mut changed) = (Vec::new(), Vec::new());
    for kind in kinds.into_iter().chain(["oidvector", "oid[]", "timetz(3)"].map(String::from)) {
        fixture.run(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t(id int8, v {kind})"));
        let columns = [("id", "int64"), ("v", "text")];
        let plan = plan(WriteMode::Insert, &columns, &[]);
        let writer = fixture.writer("t");
        match writer.draft(&plan) {
            Ok(draft) if draft.columns[1].logical.to_string().starts_with("text") => {}
            Ok(_) => continue, // converted before it comes here
            Err(error) if error.message.contains("cut or round") => {
                refused.push(kind);
                continue;
            }
            Err(error) => panic!("{kind}: {error:?}"),
        }
        let rows =
            batch(&plan, vec![integers(0..PROBES.len() as i64), texts(PROBES.iter().copied())]);
        write_all(&*writer, &plan, &[rows]).unwrap();
        for row in fixture.rows("SELECT id || ' ' || v::text FROM t ORDER BY id") {
            let (id, found) = row.split_once(' ').unwrap();
            let text = PROBES[id.parse::<usize>().unwrap()];
            if found != text && !is_spelling(&kind, text, found) {
                changed.push(format!("{kind}: {text} is {found}"));
            }
        }
    }
    assert_eq!(changed, [""; 0]);
    refused.retain(|kind| !kind.starts_with("reg"));
    let expected = ["\"char\"", "tid", "money", "tsvector", "oidvector", "oid[]", "timetz(3)"];
    assert_eq!(refused, expected);
}

#[test]
fn t36_enums_travel_by_label() {
    let fixture = Fixture::new("CREATE TYPE e AS ENUM ('b', '1', 'a,b', 'ü'); CREATE TABLE t(v e)");
    let dirty = write(&fixture, "text", texts(["1", "a,b", "ü", "b", "", "2", "B"]));
    let places: Vec<_> = dirty.iter().map(|row| row.0).collect();
    assert_eq!(places, [4, 5, 6]);
    assert_eq!(read(&fixture), quoted(&["1", "a,b", "ü", "b"]));
}

/// As text, and as content: documents are content, fragments are no documents.
#[test]
fn xml_travels_as_text_whatever_the_database_takes_xml_for() {
    let as_documents = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET xmloption = document', \
                        current_database()); END $$;";
    let filled = "CREATE TABLE t(v xml); INSERT INTO t VALUES ('<a b=\"c\">ü</a>'), ('text &amp; more'), \
                  ('<?xml version=\"1.0\" standalone=\"yes\"?><a/>'), ('<!-- c --><a/><b/>'), ('');";
    let source = Fixture::new(&format!("{filled}{as_documents}"));
    let target = Fixture::new(&format!("CREATE TABLE t(v xml);{as_documents}"));
    let mut found = Vec::new();
    for read in read_all(&*source.reader(&[("table", "t")]), 1).iter().flatten() {
        assert_eq!(read.dirty, []);
        found.push(Arc::clone(read.batch.column(0)));
    }
    for values in found {
        assert_eq!(write(&target, "text", values), []);
    }
    let printed = "SELECT v::text FROM t ORDER BY 1";
    assert_eq!(target.rows(printed).len(), 5);
    assert_eq!(target.rows(printed), source.rows(printed));
}

#[test]
fn t37_geometries_are_refused_by_column_name() {
    let fixture = Fixture::new(
        "CREATE TYPE geometry AS (x float8, y float8);
         CREATE TABLE t(id int8, shape geometry); INSERT INTO t VALUES (1, '(1,2)')",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let columns = reader.schema().unwrap().columns;
    let error = reader.produces(&columns).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.message.contains("`shape`") && error.hint.unwrap().contains("ST_As"));
    assert!(reader.produces(&columns[..1]).is_ok());
    let plan = plan(WriteMode::Insert, &[("id", "int64"), ("shape", "text")], &[]);
    assert!(fixture.writer("t").draft(&plan).unwrap_err().message.contains("`shape`"));
}

#[test]
fn t51_foreign_keys_and_triggers_act_as_ever() {
    let fixture = Fixture::new(
        "CREATE TABLE p(id int8 PRIMARY KEY); INSERT INTO p VALUES (1);
         CREATE TABLE t(v int8 REFERENCES p ON DELETE CASCADE, self int8);
         CREATE TABLE log(v int8);
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN INSERT INTO log VALUES (NEW.v); RETURN NEW; END $$;
         CREATE TRIGGER g AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
    );
    let dirty = write(&fixture, "int64", integers([1, 2, 1]));
    assert_eq!(dirty, [(1, "foreign-key".to_owned())]);
    assert_eq!(fixture.rows("SELECT count(*) FROM t"), ["2"]);
    assert_eq!(fixture.rows("SELECT count(*) FROM log"), ["2"], "one row refused, none twice");
    let draft = fixture.writer("t").draft(&plan(WriteMode::Insert, &[("v", "int64")], &[]));
    assert!(
        draft
            .unwrap()
            .warnings
            .iter()
            .any(|warning| warning.contains("`g`") || warning.contains(": g"))
    );
    let over = plan(WriteMode::Overwrite, &[("id", "int64")], &[]);
    let error = fixture.writer("p").draft(&over).unwrap_err();
    assert!(error.message.contains("refers to the target"), "{error}");
}

#[test]
fn t52_a_table_that_has_changed_since_the_plan_is_refused() {
    for (change, reason) in [
        ("DROP COLUMN v", "no longer has column `v`"),
        ("RENAME COLUMN v TO w", "no longer has column `v`"),
        ("ALTER COLUMN v TYPE numeric(15,3)", "`decimal(15,3)` now and was `decimal(15,2)`"),
        ("ALTER COLUMN v TYPE text", "`text` now and was `decimal(15,2)`"),
    ] {
        let fixture = Fixture::new("CREATE TABLE t(v numeric(15,2), x int)");
        let plan: WritePlan = plan(WriteMode::Insert, &[("v", "decimal(15,2)")], &[]);
        let writer = fixture.writer("t");
        writer.draft(&plan).unwrap();
        writer.prepare(&plan).unwrap();
        fixture.run(&format!("ALTER TABLE t {change}"));
        let context = transload_plugin_api::TaskContext { task: 0, epoch: 0 };
        let error = writer.open(&plan, &context).map(drop).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Schema, "{change}");
        assert!(error.message.contains(reason), "{change}: {error}");
    }
}

/// COPY has no parameters, so their limit of 65,535 does not apply: 1,000 columns times 200 rows
/// are written in one batch, and a row of 32 MiB in another.
#[test]
fn t59_wide_and_huge_rows_pass() {
    let names: Vec<_> = (0..1_000).map(|at| format!("c{at}")).collect();
    let ddl: Vec<_> = names.iter().map(|name| format!("{name} int8")).collect();
    let fixture = Fixture::new(&format!("CREATE TABLE t({})", ddl.join(", ")));
    let columns: Vec<_> = names.iter().map(|name| (name.as_str(), "int64")).collect();
    let values = names.iter().map(|_| integers(1..=200_i64)).collect();
    assert_eq!(write_columns(&fixture, &columns, values), []);
    assert_eq!(fixture.rows("SELECT count(*), sum(c999) FROM t"), ["200|20100"]);
    assert_eq!(read(&fixture).len(), 200);
    let fixture = Fixture::new("CREATE TABLE t(v text)");
    let huge = "0123456789abcdef".repeat(2 << 20);
    assert_eq!(write(&fixture, "text", Arc::new(StringArray::from(vec!["a", &huge, "b"]))), []);
    let read = read_all(&*fixture.reader(&[("table", "t")]), 1);
    let found: Vec<_> = read[0]
        .iter()
        .flat_map(|read| {
            let texts = read.batch.column(0).as_any().downcast_ref::<StringArray>().unwrap();
            texts.iter().map(|text| text.unwrap().len()).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(found, [1, huge.len(), 1]);
}

#[test]
fn refusals_name_the_target_type_and_the_value() {
    let fixture = Fixture::new("CREATE TABLE t(v varchar(2), m timestamp(3), o oid)");
    let columns = [("v", "text(2)"), ("m", "timestamp(3)"), ("o", "text")];
    let plan = plan(WriteMode::Insert, &columns, &[]);
    let moments: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(0), Some(1), None]));
    let values = [texts(["abc", "a", "a"]), moments, texts(["1", "1", "-1"])];
    let written =
        write_all(&*fixture.writer("t"), &plan, &[batch(&plan, values.to_vec())]).unwrap();
    let reasons: Vec<_> = written[0].dirty.iter().map(|row| row.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "expected character varying(2), found `abc`: the text is longer",
            "expected timestamp(3) without time zone, found `1970-01-01 00:00:00.000001`: there are \
             more fractional digits than it keeps",
            "expected oid, found `-1`: the server would wrap the number",
        ]
    );
}
