//! Every pair of types in short tables: what passes, what becomes dirty, and why.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, DurationMicrosecondArray, Float64Array, Int64Array,
    IntervalMonthDayNanoArray, ListArray, RecordBatch, StringArray, Time64MicrosecondArray,
    UInt64Array, cast::AsArray, types::IntervalMonthDayNanoType,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::DataType;
use transload_plugin_api::{Column, LogicalType, schema_of};

use super::{Converter, Verdict, text, verdict};

fn logical(name: &str) -> LogicalType {
    name.parse().unwrap()
}

/// Converts one column and says, value by value, what came out: text, `null` or `dirty`.
fn convert(array: ArrayRef, from: &str, to: &str) -> Vec<String> {
    let (from, to) =
        ([Column::new("a", logical(from), true)], [Column::new("b", logical(to), true)]);
    let batch = RecordBatch::try_new(schema_of(&from), vec![array]).unwrap();
    let converted = Converter::new(&from, &to).convert(&batch).unwrap();
    assert_eq!(converted.batch.schema(), schema_of(&to));
    let column = converted.batch.column(0);
    let kept: Vec<u32> =
        converted.kept.clone().unwrap_or_else(|| (0..batch.num_rows() as u32).collect());
    assert_eq!(kept.len() + converted.dirty.len(), batch.num_rows());
    let mut out = vec!["dirty".to_owned(); batch.num_rows()];
    for (index, row) in kept.iter().enumerate() {
        let null = column.is_null(index);
        out[*row as usize] =
            if null { "null".into() } else { text::show(column, &to[0].logical, index) };
    }
    out
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// Text into a type: what comes out, or `None` where the row must be dirty.
fn parses_to(to: &str, cases: &[(&str, Option<&str>)]) {
    let got = convert(texts(&cases.iter().map(|case| case.0).collect::<Vec<_>>()), "text", to);
    for ((text, want), got) in cases.iter().zip(got) {
        assert_eq!(got, want.unwrap_or("dirty"), "`{text}` as {to}");
    }
}

#[test]
fn t33_integers_out_of_range_are_dirty_never_clamped() {
    let array =
        Arc::new(Int64Array::from(vec![Some(127), Some(128), None, Some(-129), Some(-128)]));
    assert_eq!(convert(array, "int64", "int8"), ["127", "dirty", "null", "dirty", "-128"]);
    let array = Arc::new(UInt64Array::from(vec![u64::MAX, 1 << 63, (1 << 63) - 1]));
    assert_eq!(convert(array, "uint64", "int64"), ["dirty", "dirty", "9223372036854775807"]);
    let array = Arc::new(Int64Array::from(vec![-1, 0]));
    assert_eq!(convert(array, "int64", "uint64"), ["dirty", "0"]);
}

#[test]
fn lists_become_json_where_the_target_has_none() {
    let list = |item: &str, values: ArrayRef, lengths: &[usize]| -> ArrayRef {
        let DataType::List(field) = logical(&format!("list<{item}>")).data_type() else {
            panic!("{item}")
        };
        let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
        Arc::new(ListArray::new(field, offsets, values, None))
    };
    let words = list("text", texts(&["a\"b", "", "é\n", "x"]), &[3, 0, 1]);
    let words = convert(words, "list<text>", "text");
    assert_eq!(words, [r#"["a\"b","","é\n"]"#, "[]", r#"["x"]"#]);
    let numbers = Arc::new(Int64Array::from(vec![Some(1), None, Some(-3)]));
    let numbers = list("int64", numbers, &[2, 1]);
    assert_eq!(convert(numbers.clone(), "list<int64>", "json"), ["[1,null]", "[-3]"]);
    assert_eq!(convert(numbers, "list<int64>", "text(5)"), ["dirty", "[-3]"]);
    let floats = Arc::new(Float64Array::from(vec![1.5, f64::NAN]));
    let floats = convert(list("float64", floats, &[1, 1]), "list<float64>", "text");
    assert_eq!(floats, ["[1.5]", "dirty"]);
    let dates = list("date", Arc::new(Date32Array::from(vec![0])), &[1]);
    let nested = list("list<date>", dates, &[1]);
    assert_eq!(convert(nested, "list<list<date>>", "text"), [r#"[["1970-01-01"]]"#]);
    for (from, to, expected) in [
        ("list<int64>", "text", Verdict::Widening),
        ("list<float64>", "text", Verdict::Checked),
        ("list<text>", "text(9)", Verdict::Checked),
        ("list<interval>", "text", Verdict::Impossible),
        ("list<int64>", "int64", Verdict::Impossible),
    ] {
        assert_eq!(verdict(&logical(from), &logical(to)), expected, "{from} {to}");
    }
}

#[test]
fn t18_decimals_are_never_rounded() {
    parses_to(
        "decimal(5,2)",
        &[
            ("1.10", Some("1.10")),
            ("1.1", Some("1.10")),
            ("1.100", Some("1.10")),
            ("1.101", None),
            ("-0.01", Some("-0.01")),
            ("999.99", Some("999.99")),
            ("1000", None),
            (".5", Some("0.50")),
            ("", None),
            (".", None),
            ("1e2", Some("100.00")),
            ("1e3", None),
            ("1e-2", Some("0.01")),
            (" 1", None),
            ("-", None),
            ("+7", Some("7.00")),
            ("0000123.4", Some("123.40")),
        ],
    );
    let wide = "12345678901234567890123456789012345678901234567890123456789012345.67";
    parses_to("decimal(76,2)", &[(wide, Some(wide))]);
    let floats = Arc::new(Float64Array::from(vec![0.1, 1.005, 2.5]));
    assert_eq!(convert(floats, "float64", "decimal(10,2)"), ["0.10", "dirty", "2.50"]);
}

#[test]
fn decimal_scales_change_only_without_loss() {
    let batch = convert(texts(&["1.10", "1.25"]), "text", "decimal(10,2)");
    assert_eq!(batch, ["1.10", "1.25"]);
    let array: ArrayRef = Arc::new(
        arrow_array::Decimal128Array::from(vec![110, 125, 99_999])
            .with_precision_and_scale(10, 2)
            .unwrap(),
    );
    assert_eq!(convert(array.clone(), "decimal(10,2)", "decimal(3,1)"), ["1.1", "dirty", "dirty"]);
    assert_eq!(convert(array.clone(), "decimal(10,2)", "int64"), ["dirty", "dirty", "dirty"]);
    assert_eq!(convert(array, "decimal(10,2)", "float64"), ["1.1", "1.25", "999.99"]);
}

#[test]
fn floats_to_integers_only_when_whole() {
    let array = Arc::new(Float64Array::from(vec![1.0, 1.5, f64::NAN, 1e30, -0.0]));
    assert_eq!(convert(array, "float64", "int64"), ["1", "dirty", "dirty", "dirty", "0"]);
    let array = Arc::new(Int64Array::from(vec![1 << 53, (1 << 53) + 1]));
    assert_eq!(convert(array, "int64", "float64"), ["9007199254740992.0", "dirty"]);
}

#[test]
fn t20_numbers_become_boolean_only_as_0_and_1() {
    let array = Arc::new(Int64Array::from(vec![-1, 0, 1, 2, 127]));
    assert_eq!(convert(array, "int64", "boolean"), ["dirty", "false", "true", "dirty", "dirty"]);
    let array = Arc::new(BooleanArray::from(vec![Some(true), None]));
    assert_eq!(convert(array, "boolean", "int8"), ["1", "null"]);
}

#[test]
fn t22_boolean_words() {
    parses_to(
        "boolean",
        &[
            ("t", Some("true")),
            ("F", Some("false")),
            ("Yes", Some("true")),
            ("0", Some("false")),
            ("TRUE ", None),
            ("2", None),
            ("", None),
            ("on", Some("true")),
        ],
    );
}

#[test]
fn t23_fractions_are_kept_or_dirty() {
    parses_to(
        "timestamp(3)",
        &[
            ("2024-02-29 12:00:00.123", Some("2024-02-29 12:00:00.123")),
            ("2024-02-29 12:00:00.1234", None),
            ("2024-02-29T12:00:00.123000", Some("2024-02-29 12:00:00.123")),
            ("2024-02-30 12:00:00", None),
        ],
    );
    parses_to(
        "timestamp(9)",
        &[("2024-02-29 12:00:00.123456789", Some("2024-02-29 12:00:00.123456789"))],
    );
    parses_to(
        "time(0)",
        &[("12:34:56", Some("12:34:56")), ("12:34:56.5", None), ("24:00:01", None)],
    );
}

#[test]
fn t24_zones_are_never_dropped_or_invented() {
    parses_to("timestamp", &[("2024-01-01T00:00:00Z", None), ("2024-01-01 00:00:00+02", None)]);
    parses_to(
        "timestamptz",
        &[
            ("2024-01-01T00:00:00+02:00", Some("2023-12-31T22:00:00Z")),
            ("2024-01-01 00:00:00", None),
        ],
    );
    assert_eq!(verdict(&LogicalType::TIMESTAMP, &LogicalType::TIMESTAMPTZ), Verdict::Impossible);
}

#[test]
fn t26_durations_and_intervals_go_both_ways_where_the_value_allows_it() {
    let microseconds = [-3_020_399_999_999, 0, i64::MAX];
    let durations: ArrayRef = Arc::new(DurationMicrosecondArray::from(microseconds.to_vec()));
    let got = convert(durations, "duration", "interval");
    assert_eq!(got[0], "-838 hours -59 mins -59.999999000 secs");
    assert_eq!(got[2], "dirty");
    let interval = IntervalMonthDayNanoType::make_value;
    let values = vec![interval(0, 0, 1_500_000_000), interval(0, 0, 1), interval(0, 1, 0)];
    let intervals: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(values));
    assert_eq!(convert(intervals, "interval", "duration"), ["00:00:01.5", "dirty", "dirty"]);
}

#[test]
fn t26_durations_become_times_of_day_within_a_day_only() {
    let microseconds = [-1, 0, 86_399_999_999, 86_400_000_000, 500_000];
    let durations: ArrayRef = Arc::new(DurationMicrosecondArray::from(microseconds.to_vec()));
    let got = convert(durations.clone(), "duration", "time");
    assert_eq!(got, ["dirty", "00:00:00", "23:59:59.999999", "dirty", "00:00:00.5"]);
    let got = convert(durations, "duration", "time(0)");
    assert_eq!(got, ["dirty", "00:00:00", "dirty", "dirty", "dirty"]);
    let times: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![Some(86_399_000_000), None]));
    assert_eq!(convert(times, "time", "duration"), ["23:59:59", "null"]);
}

#[test]
fn t25_dates_are_calendar_dates() {
    parses_to(
        "date",
        &[
            ("1970-01-01", Some("1970-01-01")),
            ("0001-01-01", Some("0001-01-01")),
            ("9999-12-31", Some("9999-12-31")),
            ("2023-02-29", None),
            ("2024-1-5", None),
            ("2024-01-05T00:00:00", None),
        ],
    );
}

#[test]
fn t32_text_that_is_too_long_is_dirty_never_cut() {
    let got = convert(texts(&["abcde", "abcdef", "😀😀😀😀😀", "😀😀😀😀😀😀"]), "text", "text(5)");
    assert_eq!(got, ["abcde", "dirty", "😀😀😀😀😀", "dirty"]);
}

#[test]
fn t34_json_bytes_are_kept() {
    let big = r#"{"b":12345678901234567890,"a":1.10,"a":2}"#;
    assert_eq!(convert(texts(&[big, "{", "NaN"]), "text", "json"), [big, "dirty", "dirty"]);
    assert_eq!(convert(texts(&[big]), "json", "text"), [big]);
}

#[test]
fn text_and_other_types_go_both_ways() {
    for (to, values) in [
        ("int64", vec!["-9223372036854775808", "0"]),
        ("uint64", vec!["18446744073709551615"]),
        ("float64", vec!["0.30000000000000004", "5e-324", "-1.5"]),
        ("uuid", vec!["00112233-4455-6677-8899-aabbccddeeff"]),
        ("duration", vec!["-838:59:59.999999", "00:00:01"]),
        ("date", vec!["2024-02-29"]),
        ("timestamp", vec!["2024-02-29 12:00:00.5"]),
        ("timestamptz", vec!["2024-02-29T12:00:00Z"]),
        ("decimal(40,3)", vec!["1234567890123456789012345678901234567.890"]),
    ] {
        let (text, typed) =
            ([Column::new("c", LogicalType::TEXT, true)], [Column::new("c", logical(to), true)]);
        let batch = RecordBatch::try_new(schema_of(&text), vec![texts(&values)]).unwrap();
        let there = Converter::new(&text, &typed).convert(&batch).unwrap();
        assert!(there.dirty.is_empty(), "{to}: {:?}", there.dirty);
        let back = Converter::new(&typed, &text).convert(&there.batch).unwrap();
        let printed: Vec<_> = back.batch.column(0).as_string::<i32>().iter().flatten().collect();
        assert_eq!(printed, values, "{to}");
    }
    parses_to(
        "float64",
        &[
            ("1e999", None),
            ("0.1234567890123456789", Some("0.12345678901234568")),
            ("inf", Some("Infinity")),
        ],
    );
    let uuid = "00112233-4455-6677-8899-aabbccddeeff";
    parses_to("uuid", &[("00112233445566778899aabbccddeeff", Some(uuid)), ("0011", None)]);
}

#[test]
fn exact_numbers_become_floats_only_where_the_float_keeps_them() {
    let numbers = texts(&["0.10", "1e5", "-0", "0.1234567890123456789", "16777217", "NaN"]);
    let got = convert(numbers.clone(), "numeric", "float64");
    assert_eq!(got, ["0.1", "100000.0", "-0.0", "dirty", "16777217.0", "NaN"]);
    let got = convert(numbers, "numeric", "float32");
    assert_eq!(got, ["0.1", "100000.0", "-0.0", "dirty", "dirty", "NaN"]);
}

#[test]
fn null_into_a_column_that_takes_none_is_dirty() {
    let from = [Column::new("a", LogicalType::Int64, true)];
    let to = [Column::new("b", LogicalType::Int64, false)];
    let array: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let batch = RecordBatch::try_new(schema_of(&from), vec![array]).unwrap();
    let converted = Converter::new(&from, &to).convert(&batch).unwrap();
    assert_eq!(converted.kept, Some(vec![0, 2]));
    assert_eq!((converted.dirty[0].row, converted.dirty[0].code.as_str()), (1, "null"));
}

#[test]
fn a_row_with_two_bad_cells_is_one_dirty_row() {
    let from =
        [Column::new("a", LogicalType::Int64, true), Column::new("b", LogicalType::Int64, true)];
    let to = [Column::new("a", LogicalType::Int8, true), Column::new("b", LogicalType::Int8, true)];
    let array: ArrayRef = Arc::new(Int64Array::from(vec![1, 1000]));
    let batch = RecordBatch::try_new(schema_of(&from), vec![array.clone(), array]).unwrap();
    let converted = Converter::new(&from, &to).convert(&batch).unwrap();
    assert_eq!(converted.dirty.len(), 1);
    assert_eq!(converted.dirty[0].column.as_deref(), Some("a"));
}

#[test]
fn verdicts() {
    for (from, to, want) in [
        ("int32", "int64", Verdict::Widening),
        ("int64", "int32", Verdict::Checked),
        ("uint32", "int64", Verdict::Widening),
        ("text", "int32", Verdict::Checked),
        ("int64", "text", Verdict::Widening),
        ("binary", "text", Verdict::Impossible),
        ("decimal(5,2)", "decimal(7,3)", Verdict::Widening),
        ("decimal(5,2)", "decimal(5,3)", Verdict::Checked),
        ("date", "timestamp", Verdict::Widening),
        ("timestamp", "date", Verdict::Checked),
        ("int32", "decimal(10,0)", Verdict::Widening),
        ("int64", "decimal(18,0)", Verdict::Checked),
        ("interval", "text", Verdict::Impossible),
        ("json", "json", Verdict::Lossless),
    ] {
        assert_eq!(verdict(&logical(from), &logical(to)), want, "{from} to {to}");
    }
}

#[test]
fn refusals_say_what_was_expected_and_found() {
    let long = "x".repeat(100);
    let integers = || -> ArrayRef { Arc::new(Int64Array::from(vec![300])) };
    let missing: ArrayRef = Arc::new(Int64Array::from(vec![None]));
    for (array, from, to, nullable, reason) in [
        (texts(&["31.12.2026"]), "text", "date", true, "expected date, found `31.12.2026`"),
        (
            texts(&["abcdef"]),
            "text",
            "text(5)",
            true,
            "expected text(5), found 6 characters: `abcdef`",
        ),
        (integers(), "int64", "int8", true, "expected int8, found int64 `300`"),
        (missing, "int64", "int64", false, "NULL in a NOT NULL column"),
        (
            texts(&[&long]),
            "text",
            "int8",
            true,
            &format!("expected int8, found `{}...`", "x".repeat(64)),
        ),
    ] {
        let from = [Column::new("c", from.parse().unwrap(), true)];
        let to = [Column::new("to", to.parse().unwrap(), nullable)];
        let batch = RecordBatch::try_new(schema_of(&from), vec![array]).unwrap();
        let dirty = Converter::new(&from, &to).convert(&batch).unwrap().dirty;
        assert_eq!((dirty[0].column.as_deref(), dirty[0].reason.as_str()), (Some("to"), reason));
    }
}
