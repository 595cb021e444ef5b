//! CSV and JSON as the world writes them: what the plan finds out of a file by itself and says, and
//! the messages for files that are not what the job says. Each hint is tried.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use transload_tests::{Ended, Workplace};

/// A workplace whose job copies `in.csv` to the new table `t`, with these lines in `[reader]`.
fn workplace(file: impl AsRef<[u8]>, reader: &str) -> Workplace {
    let workplace = Workplace::new();
    workplace.put("in.csv", file);
    put_job(&workplace, "in.csv", reader);
    workplace
}

fn put_job(workplace: &Workplace, path: &str, reader: &str) {
    let job = format!(
        "[reader]\nplugin = \"file\"\npath = \"{path}\"\n{reader}\n\
         [writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\ncreate_table = true\n"
    );
    workplace.put("job.toml", job);
}

fn run(workplace: &Workplace) -> Ended {
    workplace.run(&["run", "job.toml", "--progress", "none"])
}

/// The notes of a plan.
fn notes(workplace: &Workplace) -> Vec<String> {
    let ended = workplace.run(&["plan", "job.toml", "--output", "json"]);
    let plan: serde_json::Value = serde_json::from_str(&ended.exits(0).stdout).unwrap();
    let notes = plan["notes"].as_array().unwrap().iter();
    let notes: Vec<_> = notes.map(|note| note.as_str().unwrap().to_owned()).collect();
    notes
}

#[track_caller]
fn notes_say(workplace: &Workplace, note: &str) {
    let notes = notes(workplace);
    assert!(notes.iter().any(|it| it == note), "{note} is not in {notes:?}");
}

/// The message and the hint of an error, wherever they are broken.
#[track_caller]
fn says(ended: &Ended, message: &str, hint: &str) {
    let text = ended.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    let hint = format!("hint: {hint}");
    assert!(text.contains(message) && text.contains(&hint), "{text}");
}

#[track_caller]
fn refused(workplace: &Workplace, exit: i32, message: &str, hint: &str) {
    says(workplace.run(&["plan", "job.toml"]).exits(exit), message, hint);
}

#[test]
fn a_semicolon_is_found_and_said_in_the_plan() {
    let workplace = workplace("id;price\n1;\"2,50\"\n2;x\n", "");
    notes_say(&workplace, "delimiter \";\", header (from the first 3 lines)");
    run(&workplace).exits(0);
    assert_eq!(workplace.sqlite("target.db", "SELECT * FROM t"), ["1|'2,50'", "2|'x'"]);
}

/// The tasks read by the dialect that the plan found, also those of later pieces and other files.
#[test]
fn every_task_reads_by_the_dialect_that_was_found() {
    let workplace = Workplace::new();
    let rows = |from: usize| (from..from + 25_000).map(|id| format!("{id}|'a|{id}'|{id:0200}\n"));
    for (name, from) in [("a.csv", 0), ("b.csv", 25_000)] {
        let text: String = std::iter::once("id|name|x\n".to_owned()).chain(rows(from)).collect();
        workplace.put(&format!("in/{name}"), text);
    }
    put_job(&workplace, "in", "");
    notes_say(&workplace, "delimiter \"|\", quote \"'\", header (from the first 200 lines)");
    run(&workplace).exits(0);
    let query = "SELECT count(*), count(DISTINCT id), max(name) FROM t";
    assert_eq!(workplace.sqlite("target.db", query), ["50000|50000|'a|9999'"]);
}

#[test]
fn a_wrong_delimiter_is_refused_with_the_line_that_mends_it() {
    let file = "id;name;amount;d\n1;a;2.50;2024-01-31\n";
    let wrong = workplace(file, "delimiter = \",\"");
    let message = "in.csv: one column, and its header holds 3 \";\"";
    refused(&wrong, 6, message, "delimiter = \";\"");
    put_job(&wrong, "in.csv", "delimiter = \";\"");
    run(&wrong).exits(0);
    assert_eq!(wrong.sqlite("target.db", "SELECT count(*) FROM pragma_table_info('t')"), ["4"]);
    let one =
        workplace(file, "delimiter = \",\"\n[reader.schema]\n\"id;name;amount;d\" = \"text\"");
    run(&one).exits(0);
    assert_eq!(one.sqlite("target.db", "SELECT * FROM t"), ["'1;a;2.50;2024-01-31'"]);
}

#[test]
fn an_ambiguous_delimiter_is_refused() {
    let file = "name, first;city\nDoe, J;X\n";
    let message = "in.csv: the delimiter is not certain: \",\" 2 columns and \";\" 2 columns";
    let hint = "write the right one: delimiter = \",\", or delimiter = \";\"";
    refused(&workplace(file, ""), 6, message, hint);
    run(&workplace(file, "delimiter = \";\"")).exits(0);
}

#[test]
fn a_file_with_another_delimiter_is_named() {
    let workplace = Workplace::new();
    for (name, text) in
        [("a.csv", "id;name\n1;a\n"), ("b.csv", "id;name\n2;b\n"), ("c.csv", "id,name\n3,c\n")]
    {
        workplace.put(&format!("in/{name}"), text);
    }
    put_job(&workplace, "in", "");
    let message = "c.csv: the delimiter is \",\" here and \";\" in `a.csv`";
    refused(&workplace, 6, message, "read files with another delimiter in a separate job");
}

#[test]
fn a_first_line_that_is_a_row_stays_one() {
    let rows = workplace("2024-01-30,1\n2024-01-31,2\n", "");
    let note = "no header: line 1 is a row (from the first 2 lines)";
    notes_say(&rows, &format!("delimiter \",\", {note}"));
    run(&rows).exits(0);
    assert_eq!(
        rows.sqlite("target.db", "SELECT c1, c2 FROM t"),
        ["'2024-01-30'|1", "'2024-01-31'|2"]
    );
    let years = workplace("2023,2024\n10,20\n", "");
    notes_say(&years, "line 1 is read as the header; `header = false` if it is a row");
    run(&years).exits(0);
    assert_eq!(years.sqlite("target.db", "SELECT \"2023\" FROM t"), ["10"]);
}

#[test]
fn amounts_become_decimals_and_what_does_not_fit_is_dirty() {
    let file =
        "id,amount,big,float\n1,1236.47,18446744073709551616,1.6e-19\n2,5,1,2\n3,1.234,1,1\n";
    let workplace = workplace(file, "sample_rows = 2");
    let ended = workplace.run(&["plan", "job.toml"]);
    for words in ["amount decimal(18,2)", "big decimal(38,0)", "float numeric"] {
        let text = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(words), "{text}");
    }
    notes_say(
        &workplace,
        "`float` fits no decimal; for floats: \"float\" = \"float64\" in [reader.schema]",
    );
    says(
        run(&workplace).exits(3),
        "expected decimal(18,2), found `1.234`",
        "to read `1.234` as decimal(18,2): \"amount\" = \"decimal(18,3)\" in [reader.schema]",
    );
    let mended =
        "sample_rows = 2\n[reader.schema]\namount = \"decimal(18,3)\"\n\"float\" = \"float64\"";
    put_job(&workplace, "in.csv", mended);
    run(&workplace).exits(0);
    let amounts = workplace.sqlite("target.db", "SELECT amount FROM t ORDER BY id");
    assert_eq!(amounts, ["'1236.470'", "'5.000'", "'1.234'"]);
}

#[test]
fn dates_and_numbers_are_read_in_the_forms_of_the_job() {
    let file = "day;at;amount;due;paid;rate\n\
                31.12.2026;31.12.2026 07:05;1.234,50;12/31/2026;J;-\n\
                1.1.2027;1.1.2027 17:05;-7,5;1/2/2027;n;1,234.56\n";
    let reader = "date_format = \"%d.%m.%Y\"\ntimestamp_format = \"%d.%m.%Y %H:%M\"\n\
                  decimal_comma = true\nthousands = \".\"\n\
                  column_null = { rate = \"-\" }\n\
                  column_formats = { due = \"%m/%d/%Y\", paid = \"J/N\", rate = \"1,234.56\" }";
    let workplace = workplace(file, reader);
    run(&workplace).exits(0);
    let query = "SELECT day, at, amount, due, paid, rate FROM t";
    assert_eq!(
        workplace.sqlite("target.db", query),
        [
            "'2026-12-31'|'2026-12-31 07:05:00'|'1234.50'|'2026-12-31'|1|NULL",
            "'2027-01-01'|'2027-01-01 17:05:00'|'-7.50'|'2027-01-02'|0|'1234.56'",
        ]
    );
}

#[test]
fn formats_that_cannot_be_meant_are_refused() {
    for (reader, message) in [
        ("date_format = \"dd.mm.yyyy\"", "`date_format` is `dd.mm.yyyy`: it needs a day"),
        ("thousands = \".\"", "`thousands` is `.`, the decimal separator `.`"),
        ("column_formats = { a = \"money\" }", "`column_formats.a` is `money`, which is no format"),
    ] {
        let ended = workplace("a\n1\n", reader).run(&["plan", "job.toml"]);
        let text = ended.exits(2).stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(message), "{text}");
    }
}

/// Real bytes of several encodings: each hint, written into the job, reads the file.
#[test]
fn the_encoding_of_bytes_that_are_not_utf8_is_named() {
    let gbk = b"id,\xbf\xcd\xbb\xa7\n1,\xcd\xf5\xce\xb0\n2,\xc0\xee\xc4\xc8\n";
    let header = workplace(gbk, "");
    refused(&header, 1, "name of column 2 is not UTF-8", "is it GBK? encoding = \"gbk\"");
    put_job(&header, "in.csv", "encoding = \"gbk\"");
    run(&header).exits(0);
    assert_eq!(header.sqlite("target.db", "SELECT * FROM t"), ["1|'王伟'", "2|'李娜'"]);
    let rows = b"id,name\n1,\xcd\xf5\xce\xb0\n2,\xb1\xb1\xbe\xa9\xb5\xc4\xbf\xcd\xbb\xa7\n";
    let rows = workplace(rows, "");
    let ended = run(&rows);
    let text = ended.exits(3).stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("is it GBK? encoding = \"gbk\""), "{text}");
    let text = rows.run(&["plan", "job.toml", "--output", "json"]).stdout;
    assert!(text.contains("`in.csv` is not UTF-8: encoding = \\\"gbk\\\" may be right"), "{text}");
}

#[test]
fn a_byte_order_mark_says_the_encoding() {
    let units = "\u{feff}id;name\n1;王伟\n".encode_utf16();
    let little: Vec<u8> = units.clone().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = units.flat_map(u16::to_be_bytes).collect();
    for file in [little, big] {
        let workplace = workplace(file, "");
        notes_say(&workplace, "encoding \"utf-16\" (from the byte order mark)");
        run(&workplace).exits(0);
        assert_eq!(workplace.sqlite("target.db", "SELECT * FROM t"), ["1|'王伟'"]);
    }
}

#[test]
fn dates_and_numbers_are_written_in_the_forms_of_the_job() {
    let workplace = Workplace::new();
    workplace.put(
        "in.csv",
        "day,at,amount\n2026-12-31,2026-12-31 07:05:00,1234.50\n2026-12-31,2026-12-31 07:05:01,1\n",
    );
    let job = "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n\
               [writer]\nplugin = \"file\"\npath = \"out.csv\"\ndate_format = \"%d.%m.%Y\"\n\
               timestamp_format = \"%d.%m.%Y %H:%M\"\ndecimal_comma = true\n[dirty]\nmax_rows = 1\n";
    workplace.put("job.toml", job);
    let ended = run(&workplace);
    ended.exits(0);
    assert_eq!(
        workplace.read("out.csv"),
        "day,at,amount\n31.12.2026,31.12.2026 07:05,\"1234,50\"\n"
    );
}

#[test]
fn an_empty_file_is_called_empty() {
    for (file, message) in [
        ("", "in.csv is empty: it has no header line, and the target has no columns"),
        ("\u{feff}", "in.csv is empty: it has no header line"),
    ] {
        refused(&workplace(file, ""), 6, message, "name the columns in [reader.schema]");
    }
    let json = workplace("", "format = \"jsonl\"");
    refused(&json, 6, "in.csv is empty: it has no objects", "name the columns in [reader.schema]");
    let header = workplace("a,b\n", "");
    run(&header).exits(0);
    assert_eq!(header.sqlite("target.db", "SELECT count(*) FROM t"), ["0"]);
    let open = workplace("\"a,b\n1,2\n", "");
    let message = "in.csv, line 1, byte 0: quote is not closed by the end of the file";
    refused(&open, 1, message, "close the quote, set the file's `quote` and `escape`, or raise");
}

#[test]
fn odd_lines_are_noted_and_the_lines_that_mend_them_work() {
    let trailing = workplace("a,b,\n1,2,\n", "");
    notes_say(
        &trailing,
        "each line ends with a delimiter: c3 is empty; `columns = [\"a\", \"b\"]` leaves it out",
    );
    put_job(&trailing, "in.csv", "columns = [\"a\", \"b\"]");
    run(&trailing).exits(0);
    assert_eq!(trailing.sqlite("target.db", "SELECT * FROM t"), ["1|2"]);
    let rows = workplace("a,b\r\n1,2,\n3,4,\r\n", "");
    let notes = notes(&rows);
    let note = "each row ends with a delimiter that the header lacks and is dirty; set \
                `skip_lines = 1` and `header = false`, and name 3 columns in [reader.schema]";
    assert!(notes.iter().any(|it| it == note), "{notes:?}");
    let mended = "skip_lines = 1\nheader = false\n\
                  [reader.schema]\na = \"int64\"\nb = \"int64\"\nnothing = \"text\"";
    put_job(&rows, "in.csv", mended);
    run(&rows).exits(0);
    assert_eq!(rows.sqlite("target.db", "SELECT a, b FROM t"), ["1|2", "3|4"]);
    let quoted = workplace("\"a \"\"x\"\"\",b\r\n1,2\n3,4\r\n", "");
    run(&quoted).exits(0);
    assert_eq!(quoted.sqlite("target.db", "SELECT \"a \"\"x\"\"\" FROM t"), ["1", "3"]);
}

/// The notes of a plan hold the lines that make text columns typed.
#[test]
fn the_plan_names_the_form_of_dates_and_amounts() {
    let file = "day;amount\n31.12.2026;1.234,50\n1.2.2027;7\n";
    let workplace = workplace(file, "");
    let lines = [
        ("day", "a date", "date_format = \"%d.%m.%Y\""),
        ("amount", "a number", "decimal_comma = true and thousands = \".\""),
    ];
    for (column, what, line) in lines {
        notes_say(&workplace, &format!("`{column}` is text; it is {what} with {line}"));
    }
    let written = lines.map(|(.., line)| line.replace(" and ", "\n")).join("\n");
    put_job(&workplace, "in.csv", &written);
    run(&workplace).exits(0);
    let rows = workplace.sqlite("target.db", "SELECT day, amount FROM t");
    assert_eq!(rows, ["'2026-12-31'|'1234.50'", "'2027-02-01'|'7.00'"]);
}
