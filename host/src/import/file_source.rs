//! The readers of text files and objects: `txtfilereader`, `ossreader`, and the same of DataWorks.

use super::{
    cx::{Cx, Side},
    file_format::{charset, compression, delimiter, pattern_of_java},
    job_text::{Line, pair},
    notes::Kind,
    tree::{Fields, Item, Value},
};

/// The reader. `place` are the lines that say where the files are; `targets` are the columns of the
/// target in order, `to_table` says that it has types of its own.
pub(super) fn read(
    cx: &mut Cx<'_>,
    parameter: &Item<'_>,
    fields: &Fields<'_>,
    (paths, targets, to_table): (Vec<String>, Option<&[String]>, bool),
) -> Side {
    let mut side = Side::default();
    side.lines.push(match paths.as_slice() {
        [path] => pair("path", path.clone()),
        paths => pair("path", paths.to_vec()),
    });
    if !is_text(cx, fields, &mut side) {
        read_parquet(cx, parameter, fields, &mut side, targets);
        return side;
    }
    side.lines.push(pair("delimiter", delimiter(cx, fields)));
    side.lines.push(pair("header", false));
    if let Some(item) = fields.given("skipHeader")
        && cx.boolean(&item) == Some(true)
    {
        side.lines.push(pair("skip_lines", 1));
    }
    if let Some(item) = fields.given("encoding") {
        side.lines.extend(charset(cx, &item).map(|name| pair("encoding", name)));
    }
    if let Some(item) = fields.given("compress") {
        compression(cx, &item);
    }
    empty_cells(cx, parameter, fields, &mut side);
    csv_settings(cx, fields, &mut side);
    columns(cx, parameter, fields, &mut side, (targets, to_table));
    side
}

/// Adds the format; false for Parquet, whose files have columns with names.
fn is_text(cx: &mut Cx<'_>, fields: &Fields<'_>, side: &mut Side) -> bool {
    let item = fields.given("fileFormat");
    let format = item.as_ref().and_then(|it| cx.text(it)).unwrap_or_default().to_lowercase();
    match (format.as_str(), item) {
        ("parquet", _) => {
            side.lines.push(pair("format", "parquet"));
            false
        }
        ("" | "text" | "csv", _) => {
            side.lines.push(pair("format", "csv"));
            true
        }
        (other, Some(item)) => {
            let message = format!("files of the format `{other}` are not read");
            cx.notes.refuse(&item, message, "CSV, JSON and Parquet are read");
            true
        }
        _ => true,
    }
}

fn read_parquet(
    cx: &mut Cx<'_>,
    parameter: &Item<'_>,
    fields: &Fields<'_>,
    side: &mut Side,
    targets: Option<&[String]>,
) {
    if let Some(item) = fields.given("parquetSchema") {
        let message = "the files say their columns themselves";
        cx.notes.unused(&item, message);
        let text = item.node.text().unwrap_or_default();
        side.columns = schema_names(&text);
    }
    let column = fields.take("column");
    let is_star = column
        .as_ref()
        .is_none_or(|it| it.items().iter().all(|it| it.node.text().as_deref() == Some("*")));
    if !is_star || targets.is_some() && side.columns.is_none() {
        let message = "columns of Parquet files have names, and the document maps them by position";
        cx.note(Kind::Todo, parameter, message, "write `columns` of [reader] and `[map]`");
    }
}

/// The names in Parquet's own text of a schema: `message m { optional int64 id; }`.
fn schema_names(text: &str) -> Option<Vec<String>> {
    let inner = text.split_once('{')?.1.rsplit_once('}')?.0;
    let fields = inner.split(';').map(str::trim).filter(|it| !it.is_empty());
    let name = |field: &str| {
        let field = field.split('(').next().unwrap_or_default().trim();
        let words: Vec<_> = field.split_whitespace().collect();
        (words.len() >= 3 && words[1] != "group").then(|| words[2].to_owned())
    };
    fields.map(name).collect()
}

/// What an empty cell and NULL are.
fn empty_cells(cx: &mut Cx<'_>, parameter: &Item<'_>, fields: &Fields<'_>, side: &mut Side) {
    if let Some(item) = fields.take("nullFormat").filter(|it| it.node.value != Value::Null) {
        let text = item.node.text().unwrap_or_default();
        side.lines.push(pair("null", text));
        return;
    }
    let message = "without `nullFormat` no cell was NULL (the manual says `\\N`): an empty cell was an empty text, \
                   and dirty in a column of numbers or dates";
    let lines = ("null = '\\N' in [reader]", "null = \"\" in [reader]: an empty cell is NULL");
    match cx.notes.is_repaired("empty-cells", parameter, message, lines) {
        true => side.lines.push(pair("null", "")),
        false => side.lines.push(Line::Pair {
            key: "null".to_owned(),
            value: "\\N".into(),
            remark: "empty-cells kept; to repair it: null = \"\"".to_owned(),
        }),
    }
}

/// `csvReaderConfig`.
fn csv_settings(cx: &mut Cx<'_>, fields: &Fields<'_>, side: &mut Side) {
    let given = fields.given("csvReaderConfig");
    let settings = given.as_ref().map(|it| cx.fields(it));
    let item = |name: &str| settings.as_ref().and_then(|it| it.given(name));
    let flag = |cx: &mut Cx<'_>, name: &str| item(name).and_then(|it| cx.boolean(&it));
    if flag(cx, "useTextQualifier") == Some(false) {
        side.lines.push(pair("quote", ""));
    } else {
        let quote =
            item("textQualifier").and_then(|it| cx.text(&it)).unwrap_or_else(|| "\"".to_owned());
        side.lines.push(pair("quote", quote));
    }
    if flag(cx, "useComments") == Some(true) {
        let comment = item("comment").and_then(|it| cx.text(&it)).unwrap_or_else(|| "#".to_owned());
        side.lines.push(pair("comment", comment));
    }
    if let Some(mode) = item("escapeMode")
        && cx.integer(&mode) == Some(2)
    {
        side.lines.push(pair("escape", "\\"));
    }
    if let Some(item) =
        item("recordDelimiter").filter(|it| it.node.text().is_none_or(|it| it != "0" && it != "\n"))
    {
        cx.notes.refuse(&item, "records end at line ends alone", "");
    }
    match item("trimWhitespace") {
        Some(item) if cx.boolean(&item) == Some(false) => {}
        Some(item) => cx.notes.changed(&item, TRIMMED),
        None => {}
    }
    if let Some(item) = item("skipEmptyRecords")
        && cx.boolean(&item) == Some(false)
    {
        cx.notes.changed(&item, "empty lines of a file with several columns are skipped");
    }
    if let Some(settings) = settings {
        cx.notes.rest(
            &settings,
            "`csvReaderConfig`",
            &[
                ("safetySwitch", "a record may have 16 MiB; `max_record` changes that"),
                ("delimiter", "`fieldDelimiter` says it"),
                ("caseSensitive", "names are not used"),
                ("captureRawRecord", "it has no effect on rows"),
                ("comment", "without `useComments` it had no effect"),
            ],
        );
    }
}

const TRIMMED: &str =
    "blanks around values were removed; they stay now, and a number with blanks is dirty";

/// Columns by their positions: `c1`, `c2` and so on, as a file without names has them.
fn columns(
    cx: &mut Cx<'_>,
    parameter: &Item<'_>,
    fields: &Fields<'_>,
    side: &mut Side,
    (targets, to_table): (Option<&[String]>, bool),
) {
    let given = fields.given("column").map(|it| it.items()).unwrap_or_default();
    let is_star = given.iter().all(|it| it.node.text().as_deref() == Some("*"));
    if is_star {
        match targets {
            Some(targets) => {
                side.columns = Some((1..=targets.len()).map(|n| format!("c{n}")).collect());
            }
            None if to_table => {
                let message = "neither side names columns, and the file has no names: which cell goes to which \
                               column is open";
                cx.note(
                    Kind::Todo,
                    parameter,
                    message,
                    "write the table's columns in order into `[map]`: id = \"c1\"",
                );
            }
            None => {}
        }
        return;
    }
    let mut names = Vec::new();
    let mut formats = toml::Table::new();
    for (at, item) in given.iter().enumerate() {
        if !cx.is_map(item) {
            continue;
        }
        let column = Fields::of(item);
        let Some(index) = column.given("index") else {
            let message = match column.take("value") {
                Some(_) => "it is a constant, and files are read as they are",
                None => "`index` is missing",
            };
            let hint = "give the target's column a default, or load the file into a table first";
            cx.notes.refuse(item, message, hint);
            continue;
        };
        let Some(index) = cx.integer(&index) else { continue };
        let name = format!("c{}", index + 1);
        let kind =
            column.given("type").and_then(|it| cx.text(&it)).unwrap_or_default().to_lowercase();
        if let Some(format) = column.given("format") {
            let pattern = pattern_of_java(cx, &format);
            formats.extend(pattern.filter(|_| kind == "date").map(|it| (name.clone(), it.into())));
        }
        let logical = logical_type(&kind, formats.get(&name).and_then(toml::Value::as_str));
        match logical {
            Some(logical) if !to_table && !names.contains(&name) => {
                side.schema.push(pair(name.clone(), logical))
            }
            Some(_) => {}
            None => {
                let message = format!("there is no type `{kind}`");
                let hint = "the types are long, double, string, boolean and date";
                cx.notes.refuse(item, message, hint);
            }
        }
        cx.notes.rest(
            &column,
            "a column",
            &[("name", "the position counts"), ("value", "beside `index` it is ignored")],
        );
        if targets.is_some_and(|it| it.len() == given.len()) || !names.contains(&name) {
            names.push(name);
        } else {
            cx.notes.refuse(
                &given[at],
                "the same cell is read twice, and the target has no names for both",
                "",
            );
        }
    }
    if !formats.is_empty() {
        side.lines.push(pair("column_formats", formats));
    }
    side.columns = Some(names);
}

/// The type of a column where the target has none.
fn logical_type(kind: &str, pattern: Option<&str>) -> Option<&'static str> {
    let has_time =
        pattern.is_some_and(|it| ["%H", "%I", "%T"].iter().any(|part| it.contains(part)));
    Some(match kind {
        "long" | "int" | "integer" | "bigint" => "int64",
        "double" | "float" | "decimal" => "numeric",
        "string" | "varchar" | "text" | "" => "text",
        "boolean" | "bool" => "boolean",
        "date" if has_time => "timestamp",
        "date" if pattern.is_some() => "date",
        "date" => "text",
        _ => return None,
    })
}
