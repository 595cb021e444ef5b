//! What readers and writers of text files have in common: delimiters, encodings, compressions, and
//! patterns of dates.

use super::{
    cx::Cx,
    tree::{Fields, Item},
};

/// The delimiter of cells as a job has it.
pub(super) fn delimiter(cx: &mut Cx<'_>, fields: &Fields<'_>) -> String {
    let Some(item) = fields.take("fieldDelimiter") else { return ",".to_owned() };
    let text = item.node.text().unwrap_or_default();
    let text = match text.as_str() {
        "" => ",".to_owned(),
        // Written with two backslashes in JSON.
        "\\t" => "\t".to_owned(),
        _ => match text.strip_prefix("\\u").or(text.strip_prefix("\\x")) {
            Some(code) => u32::from_str_radix(code, 16)
                .ok()
                .and_then(char::from_u32)
                .map_or(text.clone(), String::from),
            None => text,
        },
    };
    if text.len() != 1 {
        let message = format!("the delimiter `{}` is not one ASCII character", text.escape_debug());
        cx.notes.refuse(
            &item,
            message,
            "files with longer delimiters are neither read nor written",
        );
    }
    text
}

/// The name of an encoding; `None` for UTF-8, the default.
pub(super) fn charset(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<String> {
    let text = cx.text(item)?.to_lowercase();
    let plain = text.replace(['-', '_'], "");
    Some(match plain.as_str() {
        "utf8" => return None,
        "gbk" | "gb2312" | "gb18030" => "gb18030".to_owned(),
        "iso88591" | "latin1" => "latin1".to_owned(),
        "usascii" | "ascii" => return None,
        _ => text,
    })
}

/// Looks at a compression that is found by the first bytes of a file.
pub(super) fn compression(cx: &mut Cx<'_>, item: &Item<'_>) {
    let text = cx.text(item).unwrap_or_default().to_lowercase();
    match text.as_str() {
        "gzip" | "gz" | "bzip2" | "bz2" | "framing-snappy" | "none" => {
            cx.notes.unused(item, "the compression is found by the first bytes of each file");
        }
        _ => cx.notes.refuse(
            item,
            format!("files compressed with `{text}` are not read"),
            "gzip, bzip2, zstd, lz4 and framed snappy are",
        ),
    }
}

/// A pattern of Java's SimpleDateFormat in the form of strftime.
pub(super) fn pattern_of_java(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<String> {
    let text = item.node.text().unwrap_or_default();
    let converted = converted(&text);
    if converted.is_none() {
        let message = format!("the date pattern `{text}` has parts that a job cannot have");
        cx.notes.refuse(item, message, "docs/files.md lists the parts of a `timestamp_format`");
    }
    converted
}

fn converted(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\'' {
            let inner = &rest[1..];
            let end = inner.find('\'')?;
            out.push_str(if end == 0 { "'" } else { &inner[..end] });
            rest = &inner[end + 1..];
            continue;
        }
        let count = rest.chars().take_while(|it| *it == c).count();
        if c.is_ascii_alphabetic() {
            out.push_str(match (c, count) {
                ('y', 4) => "%Y",
                ('y', 2) => "%y",
                ('M', 1 | 2) => "%m",
                ('M', 3) => "%b",
                ('d', 1 | 2) => "%d",
                ('H', 1 | 2) => "%H",
                ('h', 1 | 2) => "%I",
                ('m', 1 | 2) => "%M",
                ('s', 1 | 2) => "%S",
                ('S', _) => "%f",
                ('a', 1) => "%p",
                ('Z', _) | ('X', _) => "%z",
                _ => return None,
            });
            rest = &rest[count..];
        } else {
            out.push_str(if c == '%' { "%%" } else { "" });
            if c != '%' {
                out.push(c);
            }
            rest = &rest[c.len_utf8()..];
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_converted() {
        for (java, pattern) in [
            ("yyyy-MM-dd HH:mm:ss", Some("%Y-%m-%d %H:%M:%S")),
            ("yyyyMMdd", Some("%Y%m%d")),
            ("yyyy-MM-dd'T'HH:mm:ss.SSS", Some("%Y-%m-%dT%H:%M:%S.%f")),
            ("dd/MM/yy hh:mm a", Some("%d/%m/%y %I:%M %p")),
            ("yyyy年MM月dd日", Some("%Y年%m月%d日")),
            ("yyyy-DDD", None),
            ("'open", None),
        ] {
            assert_eq!(converted(java).as_deref(), pattern, "{java}");
        }
    }
}
