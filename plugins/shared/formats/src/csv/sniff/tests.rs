use super::*;

fn sniffed(said: &CsvSaid, input: &str) -> Result<(CsvDialect, Vec<String>)> {
    CsvDialect::default().sniff(said, input.as_bytes(), true)
}

/// Delimiter, quote and header as found, and the notes.
fn found(input: &str) -> (char, char, bool, String) {
    let (dialect, notes) = sniffed(&CsvSaid::default(), input).unwrap();
    let quote = char::from(dialect.quote.unwrap());
    (char::from(dialect.delimiter), quote, dialect.header, notes.join("\n"))
}

fn refused(said: &CsvSaid, input: &str) -> (String, String) {
    let error = sniffed(said, input).unwrap_err();
    assert_eq!(error.code, "CSV-DELIMITER");
    (error.message, error.hint.unwrap())
}

#[test]
fn the_delimiter_that_the_records_agree_on_is_found() {
    for (input, delimiter) in [
        ("id,name\n1,a\n", ','),
        ("id;price\n1;2,50\n2;3,10\n", ';'),
        ("id;name;note\n1;a;\"x;y\nz\"\n2;b;c,d,e\n", ';'),
        ("id\tname\n1\ta b\n", '\t'),
        ("id|name\n1|a,b\n", '|'),
        ("id\u{1}name\n1\u{1}a\n", '\u{1}'),
        ("a;b\r\n1;2\r\n", ';'),
        ("a;b\r1;2\r", ';'),
        ("\u{feff}a;b;c\n", ';'),
        // more columns by the default one
        ("id,at;zone,note\n1,a;b,c\n", ','),
        // one row of ten and more may differ
        (&format!("a;b\n{}1;2;3\n", "1;2\n".repeat(20)), ';'),
        // one column is a table too
        ("name\nA, B\nC\n", ','),
        ("text\n", ','),
        ("a b: c\nd e: f\n", ','),
        ("a;b\nx\ny\n", ','),
    ] {
        assert_eq!(found(input).0, delimiter, "{input}");
    }
}

#[test]
fn what_is_not_certain_is_refused_with_the_line_to_write() {
    let nothing = CsvSaid::default();
    let (message, hint) = refused(&nothing, "name, first;city\nDoe, J;X\n");
    assert_eq!(message, "the delimiter is not certain: \",\" 2 columns and \";\" 2 columns");
    assert_eq!(hint, "write the right one: delimiter = \",\", or delimiter = \";\"");
    refused(&nothing, "last, first;city;street\nDoe, J;X;Y\n");
    let (message, hint) = refused(&nothing, "a;b;c;d\nx\ny\n");
    assert_eq!(message, "one column, and its header holds 3 \";\"");
    assert_eq!(hint, "delimiter = \";\"");
    // the name of a column that the job expects decides
    let said = CsvSaid { columns: vec!["a;b;c;d".to_owned()], ..CsvSaid::default() };
    assert_eq!(sniffed(&said, "a;b;c;d\nx\ny\n").unwrap().0.delimiter, b',');
    let said = CsvSaid { columns: vec!["city".to_owned()], ..CsvSaid::default() };
    assert_eq!(sniffed(&said, "name, first;city\nDoe, J;X\n").unwrap().0.delimiter, b';');
}

#[test]
fn a_delimiter_that_is_said_must_divide_what_another_one_divides() {
    let said = CsvSaid { delimiter: true, ..CsvSaid::default() };
    let (message, hint) = refused(&said, "id\tname\n1\ta\n");
    assert_eq!(message, "one column, and its header holds 1 \"tab\"");
    assert_eq!(hint, "delimiter = \"tab\"");
    let kept = |said: &CsvSaid, input| sniffed(said, input).unwrap().0.delimiter;
    assert_eq!(kept(&said, "id,a;b;c\n1,2\n"), b',');
    assert_eq!(kept(&said, "a;b\nx\n"), b',');
    assert_eq!(kept(&CsvSaid { columns: vec!["a;b;c".to_owned()], ..said }, "a;b;c\nx\n"), b',');
}

#[test]
fn a_single_quote_is_found_where_nothing_else_explains_the_records() {
    assert_eq!(found("'id','name'\n1,'a,b'\n").1, '\'');
    assert_eq!(found("id,name\n1,'a,b'\n2,'c'\n").1, '\'');
    assert_eq!(found("id,name\n1,'tis\n2,that's\n").1, '"');
    assert_eq!(found("id,name\n1,'a'\n").1, '"');
    let said = CsvSaid { quote: true, ..CsvSaid::default() };
    assert_eq!(sniffed(&said, "'id','name'\n").unwrap().0.quote, Some(b'"'));
}

#[test]
fn the_first_line_is_a_row_only_if_no_header_can_look_like_it() {
    for (input, header, words) in [
        ("id,day\n1,2024-01-31\n", true, ", header ("),
        ("2024-01-30,1\n2024-01-31,2\n", false, "no header"),
        ("2024-01-30,n\n2024-01-31,2\n", true, ", header ("),
        ("2023,2024\n10,20\n", true, "`header = false`"),
        ("city,2023\nBerlin,10\n", true, "`header = false`"),
        ("1,2.5\n2,3.5\n", true, "`header = false`"),
        ("Berlin,Bonn\nRom,Pisa\n", true, ", header ("),
        ("2024-01-30,1\n", true, ", header ("),
    ] {
        let (.., found, note) = found(input);
        assert_eq!(found, header, "{input}");
        assert!(note.contains(words), "{input}: {note}");
    }
}

#[test]
fn the_note_says_what_was_found_and_from_how_much() {
    assert_eq!(found("a;b\n1;x\n").3, "delimiter \";\", header (from the first 2 lines)");
    let long = format!("a\tb\n{}", "1\tx\n".repeat(500));
    assert_eq!(found(&long).3, "delimiter \"tab\", header (from the first 200 lines)");
    assert_eq!(found("a,b\n").3, "delimiter \",\", header (from the first line)");
    let said = CsvSaid { delimiter: true, header: true, ..CsvSaid::default() };
    assert_eq!(sniffed(&said, "a,b\n").unwrap().1, Vec::<String>::new());
    assert_eq!(sniffed(&CsvSaid::default(), "").unwrap(), (CsvDialect::default(), vec![]));
}

#[test]
fn a_look_that_ends_within_a_record_or_quotes_is_enough() {
    let found = |input: &[u8]| {
        let sniffed = CsvDialect::default().sniff(&CsvSaid::default(), input, false);
        sniffed.unwrap().0.delimiter
    };
    assert_eq!(found(b"a;b\n1;2\n1;\"2,3"), b';');
    assert_eq!(found(b"a;b"), b',');
    assert_eq!(found(b""), b',');
}

#[test]
fn odd_ends_of_lines_are_noted() {
    for (input, words) in [
        (
            "a,b,\n1,2,\n",
            "each line ends with a delimiter: c3 is empty; `columns = [\"a\", \"b\"]`",
        ),
        ("a,b,c,d,\n1,2,3,4,\n", "c5 is empty; `columns` can leave it out"),
        ("a,b\n1,2,\n3,4,\n", "each row ends with a delimiter that the header lacks"),
        ("a,b\n1,2,3\n3,4\n", "1 of the first 2 rows do not have the 2 cells of the header"),
    ] {
        let notes = found(input).3;
        assert!(notes.contains(words), "{input}: {notes}");
    }
    for input in ["a,b\n1,2\n3,\n", "a,b,\n1,2,3\n"] {
        assert!(!found(input).3.contains("ends with"), "{input}");
    }
}

#[test]
fn an_escape_is_found_where_nothing_else_reads_all_records() {
    let escape = |said: &CsvSaid, input: &str| {
        let (dialect, notes) = sniffed(said, input).unwrap();
        (dialect.escape.map(char::from), notes.join("\n"))
    };
    let nothing = CsvSaid::default();
    for (input, expected) in [
        ("a,b\n\"x \\\"y\\\", z\",1\n", Some('\\')),
        ("a,b\n\"x \\\"y\\\"\",1\n", Some('\\')),
        // The quote would never be closed.
        ("a,b\n\"x \\\" y\",1\n\"z\",2\n", Some('\\')),
        // A path that ends in the escape, and doubled quotes.
        ("a,b\n\"C:\\dir\\\",1\n", None),
        ("a,b\n\"x \"\"y\"\"\",1\n\"C:\\\",2\n", None),
        // Nothing reads it all.
        ("a,b\n\"x \\\"y\\\", z\",1\n1,2,3\n", None),
        ("a,b\nx\\y,1\n", None),
    ] {
        let (found, notes) = escape(&nothing, input);
        assert_eq!(found, expected, "{input}");
        assert_eq!(notes.contains(r#"escape "\\""#), expected.is_some(), "{notes}");
    }
    let said = CsvSaid { escape: true, ..CsvSaid::default() };
    assert_eq!(escape(&said, "a,b\n\"x \\\"y\\\", z\",1\n").0, None);
}
