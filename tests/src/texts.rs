//! The tests' own readers and writers for CSV, JSON lines and hexadecimal, so that the program's
//! output is checked by independent code.

/// Records of RFC 4180. An empty cell without quotes is `None`.
///
/// # Panics
/// If a quote stays open, or is in a wrong place.
pub fn records(csv: &str) -> Vec<Vec<Option<String>>> {
    let mut letters = csv.chars().peekable();
    let mut records = Vec::new();
    while letters.peek().is_some() {
        let mut record = Vec::new();
        loop {
            let (cell, end) = cell(&mut letters);
            record.push(cell);
            if end != Some(',') {
                break;
            }
        }
        records.push(record);
    }
    records
}

/// A cell and the character after it.
fn cell(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> (Option<String>, Option<char>) {
    let quoted = letters.next_if_eq(&'"').is_some();
    let mut text = String::new();
    if !quoted {
        loop {
            match letters.next() {
                end @ (Some(',' | '\n') | None) => {
                    let text = text.trim_end_matches('\r');
                    return ((!text.is_empty()).then(|| text.to_owned()), end);
                }
                Some(letter) => {
                    assert_ne!(letter, '"', "a quote inside the plain cell `{text}`");
                    text.push(letter);
                }
            }
        }
    }
    loop {
        match letters.next().expect("a quote is open at the end") {
            '"' if letters.next_if_eq(&'"').is_some() => text.push('"'),
            '"' => break,
            letter => text.push(letter),
        }
    }
    letters.next_if_eq(&'\r');
    let end = letters.next();
    assert!(matches!(end, Some(',' | '\n') | None), "`{end:?}` behind a closing quote");
    (Some(text), end)
}

/// A record; all cells except `None` are quoted.
pub fn record(cells: &[Option<String>]) -> String {
    let quoted = |cell: &Option<String>| {
        cell.as_ref().map_or_else(String::new, |text| format!("\"{}\"", text.replace('"', "\"\"")))
    };
    cells.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

/// The members of a JSON object on one line, with their values unchanged.
///
/// # Panics
/// If the line is not an object.
pub fn members(line: &str) -> Vec<(String, String)> {
    let inside = line.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let inside = inside.unwrap_or_else(|| panic!("no object: {line}"));
    let member = |text: &str| {
        let at = ends(text, ':')[0];
        let key = serde_json::from_str(text[..at].trim()).expect("a key");
        (key, text[at + 1..].trim().to_owned())
    };
    let (mut members, mut start) = (Vec::new(), 0);
    for end in ends(inside, ',').into_iter().chain([inside.len()]) {
        members.push(member(&inside[start..end]));
        start = end + 1;
    }
    members
}

/// The positions of a character outside strings, arrays and objects.
fn ends(text: &str, wanted: char) -> Vec<usize> {
    let (mut depth, mut string, mut escaped) = (0, false, false);
    let mut found = Vec::new();
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if string => escaped = true,
            '"' => string = !string,
            _ if string => {}
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            _ if letter == wanted && depth == 0 => found.push(at),
            _ => {}
        }
    }
    found
}

/// The text whose UTF-8 bytes are given in hexadecimal.
///
/// # Panics
/// If it is not valid.
pub fn from_hex(hex: &str) -> String {
    String::from_utf8(bytes(hex)).expect("UTF-8")
}

/// Bytes given in hexadecimal.
///
/// # Panics
/// If they are not valid.
pub fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> =
        hex.chars().map(|digit| digit.to_digit(16).expect("a hexadecimal digit")).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        let cells = [None, Some(String::new()), Some("a,\"b\"\r\nc".to_owned()), Some("x".into())];
        assert_eq!(records(&record(&cells)), [cells]);
        let plain = ["1", "2"].map(|text| Some(text.to_owned())).to_vec();
        assert_eq!(records("1,2\n1,2"), [plain.clone(), plain]);
    }

    #[test]
    fn members_are_as_written() {
        let found = members(r#"{"a":1.10,"b":"x,\"}","c":null,"d":[1,{"e":":"}]}"#);
        let expected =
            [("a", "1.10"), ("b", r#""x,\"}""#), ("c", "null"), ("d", r#"[1,{"e":":"}]"#)];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn hexadecimal_there_and_back() {
        assert_eq!(bytes("00FFa0"), [0, 255, 160]);
        assert_eq!(hex(&[0, 255, 160]), "00ffa0");
    }
}
