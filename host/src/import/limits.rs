//! How many rows may be dirty, and how fast a job may be: `errorLimit` and `speed`.

use super::{
    cx::Cx,
    job_text::{Line, pair},
    tree::Item,
};

/// `[dirty]` from `errorLimit`. `setting` is where its absence is noted.
pub(super) fn dirty(cx: &mut Cx<'_>, setting: &Item<'_>, limit: Option<&Item<'_>>) {
    let fields = limit.map(|it| cx.fields(it));
    let take = |key: &str| fields.as_ref().and_then(|it| it.given(key));
    let record = take("record");
    let rows = record.as_ref().and_then(|it| cx.integer(it));
    let percentage = take("percentage");
    let ratio = percentage.as_ref().and_then(|it| ratio(cx, it));
    match (rows, ratio) {
        (Some(rows), None) => cx.job.put("dirty", pair("max_rows", rows as i64)),
        (Some(rows), Some(ratio)) => {
            cx.job.put("dirty", pair("max_rows", rows as i64));
            let item = percentage.as_ref().unwrap_or(setting);
            let message = "beside `record`, `percentage` had no effect";
            let line = format!("max_ratio = {ratio:?} in [dirty]");
            let lines = ("leave `max_ratio` out in [dirty]", line.as_str());
            match cx.notes.is_repaired("dirty-ratio", item, message, lines) {
                true => cx.job.put("dirty", pair("max_ratio", ratio)),
                false => cx.job.put(
                    "dirty",
                    Line::Comment(format!("dirty-ratio kept; to repair it: max_ratio = {ratio:?}")),
                ),
            }
        }
        (None, Some(ratio)) => cx.job.put("dirty", pair("max_ratio", ratio)),
        (None, None) => unlimited(cx, limit.unwrap_or(setting)),
    }
    if let Some(fields) = &fields {
        cx.notes.rest(fields, "`errorLimit`", &[("record", ""), ("percentage", "")]);
    }
}

fn unlimited(cx: &mut Cx<'_>, item: &Item<'_>) {
    let message = "without a limit, any number of dirty rows was accepted, and the job succeeded";
    let lines = ("max_rows = \"unlimited\" in [dirty]", "max_rows = 0 in [dirty]");
    match cx.notes.is_repaired("dirty-limit", item, message, lines) {
        true => cx.job.put("dirty", pair("max_rows", 0)),
        false => {
            let remark = "dirty-limit kept; to repair it: max_rows = 0";
            cx.job.choose("dirty", ("max_rows", "unlimited".into()), remark);
        }
    }
}

fn ratio(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<f64> {
    let text = item.node.text()?;
    let ratio = text.trim().parse::<f64>().ok().filter(|it| (0.0..=1.0).contains(it));
    if ratio.is_none() {
        cx.notes.refuse(item, format!("expected a share from 0 to 1, found `{text}`"), "");
    }
    ratio
}

/// `[channel]` from DataX's `speed`. `core` is where the speed of one channel may be set. Returns the
/// number of channels that the old job had.
pub(super) fn speed(
    cx: &mut Cx<'_>,
    setting: &Item<'_>,
    speed: Option<&Item<'_>>,
    core: Option<&Item<'_>>,
) -> u64 {
    let Some(speed) = speed else {
        let message = "`speed` is missing: DataX fails on this; the job uses all cores";
        cx.notes.changed(setting, message);
        return 1;
    };
    let fields = cx.fields(speed);
    let positive = |cx: &mut Cx<'_>, item: &Item<'_>| {
        let is_off =
            item.node.text().is_some_and(|it| it.trim().starts_with('-') || it.trim() == "0");
        if is_off { None } else { cx.integer(item) }
    };
    let number = |cx: &mut Cx<'_>, key: &str| {
        let item = fields.given(key)?;
        positive(cx, &item).map(|number| (number, item))
    };
    let channel = number(cx, "channel");
    let byte = number(cx, "byte").or_else(|| number(cx, "bytes"));
    let record = number(cx, "record");
    let of_core = |name: &str| {
        let speed = core?.node.get("transport")?.get("channel")?.get("speed")?;
        speed.get(name)?.text()?.parse::<u64>().ok().filter(|it| *it > 0)
    };
    let per_channel = [byte.as_ref().zip(of_core("byte")), record.as_ref().zip(of_core("record"))];
    let counted = per_channel.into_iter().flatten().map(|((all, _), one)| (all / one).max(1)).min();
    if let Some((bytes, _)) = &byte {
        cx.job.put("channel", pair("max_bytes_per_second", bytes_text(*bytes)));
    }
    if let Some((rows, _)) = &record {
        cx.job.put("channel", pair("max_rows_per_second", *rows as i64));
    }
    let limited = byte.as_ref().or(record.as_ref()).map(|(_, item)| item.clone());
    let tasks = match (channel, limited, counted) {
        (Some((channel, item)), Some(_), counted) if counted != Some(channel) => {
            ignored_channel(cx, &item, channel, counted)
        }
        (Some((channel, _)), _, _) => Some(channel),
        (None, Some(item), None) => {
            let message = "with the `core.json` that DataX comes with, this limit alone fails the job: the speed of \
                           one channel is not set";
            cx.notes.changed(&item, message);
            None
        }
        (None, _, counted) => counted,
    };
    if let Some(tasks) = tasks {
        cx.job.put("channel", pair("parallelism", tasks.clamp(1, 1024) as i64));
    }
    cx.notes.rest(
        &fields,
        "`speed`",
        &[("bytes", ""), ("readerChannel", "FlinkX's"), ("writerChannel", "FlinkX's")],
    );
    tasks.or(counted).unwrap_or(1)
}

/// Beside a limit, DataX computes the channels from it.
fn ignored_channel(
    cx: &mut Cx<'_>,
    item: &Item<'_>,
    channel: u64,
    counted: Option<u64>,
) -> Option<u64> {
    let message = match counted {
        Some(counted) => {
            format!("beside `byte` or `record` it had no effect: {counted} channels were used")
        }
        None => "beside `byte` or `record` it had no effect: the number followed from `core.json`"
            .to_owned(),
    };
    let kept = counted.map_or("leave `parallelism` out in [channel]".to_owned(), |it| {
        format!("parallelism = {it} in [channel]")
    });
    let repaired = format!("parallelism = {channel} in [channel]");
    match cx.notes.is_repaired("parallelism", item, message, (&kept, &repaired)) {
        true => Some(channel),
        false => {
            let comment = format!("parallelism kept; to repair it: parallelism = {channel}");
            cx.job.put("channel", Line::Comment(comment));
            counted
        }
    }
}

/// A size as people write it, if it is a whole number of units.
fn bytes_text(bytes: u64) -> String {
    for (unit, size) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("MB", 1_000_000)]
    {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{} {unit}", bytes / size);
        }
    }
    format!("{bytes} B")
}
