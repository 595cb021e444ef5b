//! `streamreader` and `streamwriter`: generated rows, and rows that go nowhere.

use super::{
    cx::{Cx, Side},
    job_text::pair,
    tree::{Fields, Item},
};

/// The generator of rows. `tasks` each made as many rows as the document says.
pub(super) fn read(cx: &mut Cx<'_>, parameter: &Item<'_>, tasks: u64) -> Side {
    let fields = cx.fields(parameter);
    let mut side = Side::default();
    side.lines.push(pair("plugin", "generator"));
    let count = fields.given("sliceRecordCount").and_then(|it| cx.integer(&it)).unwrap_or(0);
    let rows = count.saturating_mul(tasks.max(1));
    side.lines.push(pair("rows", i64::try_from(rows).unwrap_or(i64::MAX)));
    let (mut specs, mut names) = (toml::Table::new(), Vec::new());
    let Some(column) = fields.given("column") else {
        cx.notes.refuse(parameter, "`column` is missing", "");
        return side;
    };
    for (index, item) in column.items().iter().enumerate() {
        if !cx.is_map(item) {
            continue;
        }
        let column = Fields::of(item);
        let name =
            column.given("name").and_then(|it| cx.text(&it)).unwrap_or(format!("c{}", index + 1));
        if let Some(spec) = spec(cx, item, &column) {
            specs.insert(name.clone(), spec.into());
        }
        cx.notes.rest(
            &column,
            "a column",
            &[("dateFormat", ""), ("value", "beside `random` it is ignored")],
        );
        names.push(name);
    }
    side.lines.push(pair("order", names.clone()));
    side.lines.push(pair("specs", specs));
    side.columns = Some(names);
    cx.notes.rest(&fields, "`streamreader`", &[("rate", "`[channel]` limits the rate")]);
    side
}

/// A column of the generator, such as `int64 range 5..5`.
fn spec(cx: &mut Cx<'_>, item: &Item<'_>, column: &Fields<'_>) -> Option<String> {
    let kind = column
        .given("type")
        .and_then(|it| cx.text(&it))
        .unwrap_or_else(|| "string".to_owned())
        .to_lowercase();
    let random =
        column.take("random").and_then(|it| it.node.text()).filter(|it| !it.trim().is_empty());
    let mixup = column.take("mixup").and_then(|it| it.node.text());
    let format = column.take("dateFormat").and_then(|it| it.node.text());
    let value = match random.or(mixup) {
        Some(range) => {
            let (low, high) = range.split_once(',').unwrap_or((&range, &range));
            (low.trim().to_owned(), high.trim().to_owned())
        }
        None => {
            let value = column.take("value").and_then(|it| it.node.text()).unwrap_or_default();
            (value.clone(), value)
        }
    };
    let is_fixed = value.0 == value.1;
    let (low, high) = value;
    Some(match kind.as_str() {
        "long" | "int" | "integer" => format!("int64 range {low}..{high}"),
        "double" | "float" => format!("float64 range {low}..{high}"),
        "string" if is_fixed && !low.is_empty() && !low.contains('|') && low.trim() == low => {
            format!("text choice {low}")
        }
        "string" if !is_fixed => "text words 1..3".to_owned(),
        "bool" | "boolean" => "boolean".to_owned(),
        "bytes" if !is_fixed => format!("binary bytes {low}..{high}"),
        "bytes" => format!("binary bytes {0}..{0}", low.len()),
        "date" => {
            let date = |text: &str| moment(text, format.as_deref());
            match (date(&low), date(&high)) {
                (Some((low, false)), Some((high, false))) => format!("date range {low}..{high}"),
                (Some((low, _)), Some((high, _))) => {
                    let message = "the day is as the document has it, the time of day is any";
                    cx.notes.changed(item, message);
                    format!("timestamp range {low}..{high}")
                }
                _ => "timestamp".to_owned(),
            }
        }
        _ => {
            let message =
                format!("a column of type `{kind}` with the value `{low}` cannot be generated");
            cx.notes.refuse(item, message, "`transload plugin info generator` shows what can");
            return None;
        }
    })
}

/// A date of the usual form in the generator's, and whether it has a time of day.
fn moment(text: &str, format: Option<&str>) -> Option<(String, bool)> {
    if format.is_some_and(|it| !it.starts_with("yyyy-MM-dd")) {
        return None;
    }
    let (date, time) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let digits =
        |text: &str| text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | ':' | '.'));
    let fits = date.len() == 10 && digits(date) && digits(time);
    let has_time = !time.is_empty() && time != "00:00:00";
    fits.then(|| (date.to_owned(), has_time))
}

/// The writer that prints rows, or drops them.
pub(super) fn write(cx: &mut Cx<'_>, parameter: &Item<'_>) -> Side {
    let fields = cx.fields(parameter);
    let mut side = Side::default();
    let prints = fields.given("print").and_then(|it| cx.boolean(&it)).unwrap_or(true);
    let path = fields.given("path").and_then(|it| cx.text(&it));
    let file = fields.given("fileName").and_then(|it| cx.text(&it));
    let delimiter =
        fields.take("fieldDelimiter").and_then(|it| it.node.text()).filter(|it| it.len() == 1);
    if prints || path.is_some() {
        let path = match (path, file) {
            (Some(path), Some(file)) => format!("{}/{file}", path.trim_end_matches('/')),
            (Some(path), None) => path,
            (None, _) => "-".to_owned(),
        };
        side.needs_one_task = path == "-";
        side.lines.extend([
            pair("plugin", "file"),
            pair("path", path),
            pair("format", "csv"),
            pair("header", false),
        ]);
        side.lines.push(pair("delimiter", delimiter.unwrap_or_else(|| "\t".to_owned())));
    } else {
        side.lines.push(pair("plugin", "generator"));
    }
    cx.notes.rest(
        &fields,
        "`streamwriter`",
        &[
            ("encoding", "rows are printed in UTF-8"),
            ("visible", "`print` says it"),
            ("column", "all columns are written"),
            ("recordNumBeforeSleep", "`[channel]` limits the rate"),
            ("sleepTime", "`[channel]` limits the rate"),
        ],
    );
    side
}
