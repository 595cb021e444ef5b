//! The writers of text files and objects: `txtfilewriter`, `osswriter`, and the same of DataWorks.

use super::{
    cx::{Cx, Side},
    file_format::{charset, delimiter, pattern_of_java},
    job_text::{Line, pair},
    notes::Kind,
    tree::{Fields, Item},
};

/// Where the files go.
pub(super) enum Place {
    /// A file of this machine: old names were this one, two underscores, and a random part.
    File(String),
    /// Objects whose keys began with this one.
    Objects(String),
}

/// The writer.
pub(super) fn read(
    cx: &mut Cx<'_>,
    parameter: &Item<'_>,
    fields: &Fields<'_>,
    place: &Place,
) -> Side {
    let mut side = Side::default();
    if let Some(item) = fields.given("suffix") {
        cx.notes.changed(&item, "the name is the one that the job gives, without a suffix");
    }
    match place {
        Place::File(path) => {
            side.lines.push(pair("path", path.clone()));
            side.lines.push(pair("layout", "file"));
            let message = format!(
                "each task wrote a file `{path}__` with a random name behind it; the job writes one file, `{path}`, \
                 at once when all rows are there"
            );
            cx.note(Kind::Changed, parameter, &message, "");
        }
        Place::Objects(prefix) => {
            side.lines.push(pair("path", format!("{}/", prefix.trim_end_matches('/'))));
            let message = format!(
                "each task wrote an object `{prefix}__` with a random name behind it; the job writes objects below \
                 `{}/`, visible at once when all rows are there",
                prefix.trim_end_matches('/')
            );
            cx.note(Kind::Changed, parameter, &message, "");
        }
    }
    write_mode(cx, fields, &mut side);
    if is_text(cx, fields, &mut side) {
        text_options(cx, parameter, fields, &mut side);
    }
    if let Some(item) = fields.given("maxFileSize") {
        match (cx.integer(&item), place) {
            (Some(megabytes), Place::Objects(_)) => {
                side.lines.push(pair("max_bytes_per_object", format!("{megabytes} MB")));
            }
            (_, Place::File(_)) => cx.notes.changed(&item, "the job writes one file"),
            (None, _) => {}
        }
    }
    if let Some(item) = fields.given("column") {
        columns(cx, &item, &mut side);
    }
    side
}

fn write_mode(cx: &mut Cx<'_>, fields: &Fields<'_>, side: &mut Side) {
    let Some(item) = fields.given("writeMode") else {
        side.lines.push(pair("write_mode", "insert"));
        return;
    };
    match cx.text(&item).unwrap_or_default().to_lowercase().as_str() {
        "truncate" => {
            side.lines.push(pair("write_mode", "overwrite"));
            let message = "it deleted everything whose name begins alike, also what other jobs had written; the job \
                           replaces what it has written itself";
            let hint = "remove what the old job has left once";
            cx.note(Kind::Changed, &item, message, hint);
        }
        "append" => {
            side.lines.push(pair("write_mode", "insert"));
            side.lines.push(pair("if_exists", "append"));
        }
        "nonconflict" => side.lines.push(pair("write_mode", "insert")),
        other => {
            let message = format!("there is no write mode `{other}`");
            cx.notes.refuse(&item, message, "write `truncate`, `append` or `nonConflict`");
        }
    }
}

/// Adds the format; false for Parquet.
fn is_text(cx: &mut Cx<'_>, fields: &Fields<'_>, side: &mut Side) -> bool {
    let item = fields.given("fileFormat");
    let format = item
        .as_ref()
        .and_then(|it| cx.text(it))
        .unwrap_or_else(|| "text".to_owned())
        .to_lowercase();
    match (format.as_str(), item) {
        ("parquet", _) => {
            side.lines.push(pair("format", "parquet"));
            if let Some(item) = fields.given("compress") {
                let text = cx.text(&item).unwrap_or_default().to_lowercase();
                if ["gzip", "snappy", "zstd", "lz4", "none"].contains(&text.as_str()) {
                    side.lines.push(pair("compression", text));
                }
            }
            false
        }
        ("csv", _) => {
            side.lines.push(pair("format", "csv"));
            true
        }
        ("text", item) => {
            side.lines.push(pair("format", "csv"));
            plain_text(cx, fields, item.as_ref(), side);
            true
        }
        (other, Some(item)) => {
            let message = format!("files of the format `{other}` are not written");
            cx.notes.refuse(&item, message, "CSV, JSON and Parquet are written");
            false
        }
        _ => true,
    }
}

/// The format `text` has no quotes.
fn plain_text(cx: &mut Cx<'_>, fields: &Fields<'_>, item: Option<&Item<'_>>, side: &mut Side) {
    let own = fields.take("writeMode");
    let Some(item) = item.or(own.as_ref()) else { return };
    let message = "`fileFormat` is `text`: values were joined without quotes, and a delimiter or a line end in one \
                   broke its row; such rows are dirty now";
    let lines =
        ("quote = \"\" in [writer]", "leave `quote` out in [writer]: such values are quoted");
    if !cx.notes.is_repaired("plain-text", item, message, lines) {
        side.lines.push(Line::Pair {
            key: "quote".to_owned(),
            value: "".into(),
            remark: "plain-text kept; to repair it, remove this line".to_owned(),
        });
    }
}

fn text_options(cx: &mut Cx<'_>, parameter: &Item<'_>, fields: &Fields<'_>, side: &mut Side) {
    side.lines.push(pair("delimiter", delimiter(cx, fields)));
    let header = fields.given("header").map(|it| cx.texts(&it)).filter(|it| !it.is_empty());
    side.lines.push(pair("header", header.is_some()));
    side.columns = header;
    match fields.take("nullFormat").filter(|it| it.node.text().is_some()) {
        Some(item) => side.lines.push(pair("null", item.node.text().unwrap_or_default())),
        None => {
            let message = "without `nullFormat` NULL was written as `null` (the manual says `\\N`)";
            let lines = ("null = \"null\" in [writer]", "null = '\\N' in [writer]");
            let is_repaired = cx.notes.is_repaired("null-text", parameter, message, lines);
            side.lines.push(pair("null", if is_repaired { "\\N" } else { "null" }));
        }
    }
    if let Some(item) = fields.given("encoding")
        && let Some(name) = charset(cx, &item)
    {
        let message = format!("files are written in UTF-8, not in `{name}`");
        cx.notes.refuse(&item, message, "convert the files afterwards, such as with iconv");
    }
    compression(cx, fields, side);
    line_ends(cx, fields);
    date_format(cx, fields, side);
    if let Some(item) = fields.given("byteEncoding")
        && cx.text(&item).is_some_and(|it| it.eq_ignore_ascii_case("base64"))
    {
        side.lines.push(pair("binary", "base64"));
    }
}

fn compression(cx: &mut Cx<'_>, fields: &Fields<'_>, side: &mut Side) {
    let Some(item) = fields.given("compress") else { return };
    let text = cx.text(&item).unwrap_or_default().to_lowercase();
    let word = match text.as_str() {
        "none" => return,
        "gzip" | "gz" => "gzip",
        "bzip2" | "bz2" => "bzip2",
        _ => {
            let message = format!("files are not compressed with `{text}`");
            return cx.notes.refuse(
                &item,
                message,
                "with gzip, bzip2, zstd, lz4 or framed snappy they are",
            );
        }
    };
    side.lines.push(pair("compression", word));
}

fn line_ends(cx: &mut Cx<'_>, fields: &Fields<'_>) {
    let Some(item) = fields.take("lineDelimiter") else { return };
    match item.node.text().unwrap_or_default().as_str() {
        "\n" | "" | "\\n" => {}
        "\r\n" | "\\r\\n" => cx.notes.changed(&item, "lines end with LF, not with CR LF"),
        _ => cx.notes.refuse(&item, "lines end with LF alone", ""),
    }
}

fn date_format(cx: &mut Cx<'_>, fields: &Fields<'_>, side: &mut Side) {
    let item = fields.given("dateFormat").or_else(|| fields.given("format"));
    let Some(item) = item else { return };
    let Some(pattern) = pattern_of_java(cx, &item) else { return };
    let has_time = ["%H", "%I"].iter().any(|part| pattern.contains(part));
    let (has_seconds, has_fraction) = (pattern.contains("%S"), pattern.contains("%f"));
    // A fraction that would be lost made the row dirty; it is written where there is one.
    let pattern = if has_fraction { pattern } else { pattern.replace("%S", "%S%.f") };
    let key = if has_time { "timestamp_format" } else { "date_format" };
    side.lines.push(pair(key, pattern));
    let message = match has_time {
        true if has_seconds => {
            "fractions of a second were cut, and are written now; dates and times of day were written by the same \
             pattern, and have their own form now"
        }
        true => "seconds were cut; a row with seconds is dirty now",
        false => "timestamps were cut to the day by the same pattern; they are written whole now",
    };
    cx.notes.changed(&item, message);
}

/// The columns of a Parquet or CSV writer: names, or objects with a name.
fn columns(cx: &mut Cx<'_>, item: &Item<'_>, side: &mut Side) {
    let names = item
        .items()
        .iter()
        .map(|it| it.node.get("name").and_then(|name| name.text()).or(it.node.text()))
        .collect::<Option<Vec<_>>>();
    match names {
        Some(names) if names.iter().any(|it| it == "*") => {}
        Some(names) if side.columns.is_none() => side.columns = Some(names),
        Some(_) => {}
        None => cx.notes.unused(item, "the columns are those of the reader"),
    }
}
