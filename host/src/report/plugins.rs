//! Plugins, their descriptors, connections and findings as text.

use std::fmt::{Result, Write};

use transload_plugin_api::{
    ConflictEffect, Descriptor, Finding, KeyNeed, OptionKind, OptionScope, OptionSpec, TypeSupport,
    WriterDescriptor,
};

use crate::{
    catalog::{Entry, Status},
    job::ConnectionEntry,
};

/// All libraries as a table, with the reason where one is refused.
pub(crate) fn list_plugins(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "no plugins found; name their folder with --plugins or TRANSLOAD_PLUGIN_PATH"
            .into();
    }
    let mut rows = vec![["name", "version", "roles", "status", "library"].map(String::from)];
    for entry in entries {
        let roles: Vec<_> = entry.roles.iter().map(ToString::to_string).collect();
        let status = match &entry.status {
            Status::Ok => entry.note().map_or("ok".into(), |note| format!("ok, {note}")),
            Status::Refused { reason } => format!("refused: {reason}"),
            Status::Shadowed { by } => format!("shadowed by {}", by.display()),
        };
        let version = entry.version.clone().unwrap_or_default();
        let path = entry.path.display().to_string();
        rows.push([entry.name.clone(), version, roles.join(", "), status, path]);
    }
    table(&rows)
}

/// All connections as a table.
pub(crate) fn list_connections(entries: &[ConnectionEntry]) -> String {
    if entries.is_empty() {
        return "no connections found; define them in `connections.toml`, here, in \
                ~/.config/transload or in /etc/transload"
            .into();
    }
    let mut rows = vec![["name", "environment", "plugin", "file"].map(String::from)];
    for entry in entries {
        let note = if entry.hidden { " (hidden by a nearer file)" } else { "" };
        rows.push([
            entry.name.clone(),
            entry.environment.clone().unwrap_or_default(),
            entry.plugin.clone().unwrap_or_default(),
            format!("{}{note}", entry.file.display()),
        ]);
    }
    table(&rows)
}

/// The stages of a check, one per line.
pub(crate) fn list_findings(findings: &[Finding]) -> String {
    let mark = |finding: &Finding| if finding.ok { "ok" } else { "FAILED" }.to_owned();
    let row = |finding: &Finding| [mark(finding), finding.stage.clone(), finding.detail.clone()];
    table(&findings.iter().map(row).collect::<Vec<_>>())
}

/// Everything that a plugin declares.
pub(crate) fn describe_plugin(descriptor: &Descriptor) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = write_descriptor(&mut text, descriptor);
    text.truncate(text.trim_end().len());
    text
}

fn write_descriptor(text: &mut String, descriptor: &Descriptor) -> Result {
    let Descriptor { name, version, summary, vendor, .. } = descriptor;
    let vendor = if vendor.is_empty() { String::new() } else { format!(" by {vendor}") };
    writeln!(text, "{name} {version}{vendor}\n{summary}")?;
    write_options(text, "options of both roles", &descriptor.options)?;
    if let Some(reader) = &descriptor.reader {
        write_options(text, "reader's options", &reader.options)?;
        write_types(text, "reader's types", &reader.types)?;
    }
    if let Some(writer) = &descriptor.writer {
        write_options(text, "writer's options", &writer.options)?;
        write_modes(text, writer)?;
        write_types(text, "writer's types", &writer.types)?;
    }
    Ok(())
}

fn write_options(text: &mut String, heading: &str, options: &[OptionSpec]) -> Result {
    if options.is_empty() {
        return Ok(());
    }
    let row = |option: &OptionSpec| {
        let mut doc = option.doc.clone();
        if let Some(default) = &option.default {
            doc += &format!(" (default {default})");
        }
        let marks = [
            (option.required, "required"),
            (option.secret, "secret"),
            (option.scope == OptionScope::Connection, "connection"),
        ];
        let marks: Vec<_> = marks.iter().filter(|mark| mark.0).map(|mark| mark.1).collect();
        [option.key.clone(), kind(&option.kind), marks.join(", "), doc]
    };
    section(text, heading, &options.iter().map(row).collect::<Vec<_>>())
}

/// The type of an option, with its bounds or choices.
fn kind(kind: &OptionKind) -> String {
    match kind {
        OptionKind::Text => "text".into(),
        OptionKind::Boolean => "true or false".into(),
        OptionKind::Integer { min, max } => match (*min, *max) {
            (min, i64::MAX) => format!("integer from {min}"),
            (min, max) => format!("integer {min} to {max}"),
        },
        OptionKind::Float { min, max } => format!("number {min} to {max}"),
        OptionKind::Size => "size".into(),
        OptionKind::Duration => "duration".into(),
        OptionKind::Choice(words) => words.join(" | "),
        OptionKind::Path => "path".into(),
        OptionKind::Paths => "path or paths".into(),
        OptionKind::List => "text or list".into(),
        OptionKind::Map => "table".into(),
        _ => "other".into(),
    }
}

fn write_modes(text: &mut String, writer: &WriterDescriptor) -> Result {
    let row = |mode: &transload_plugin_api::WriteModeSpec| {
        let needs = match mode.needs {
            KeyNeed::Nothing => "no key needed",
            KeyNeed::UniqueKey => "needs a primary or unique key",
            KeyNeed::PrimaryKey => "needs a primary key",
        };
        let conflict = match mode.conflict {
            ConflictEffect::Dirty => "a conflict is a dirty row",
            ConflictEffect::Skip => "a conflict is skipped",
            ConflictEffect::Update => "a conflict updates",
            ConflictEffect::Replace => "a conflict replaces",
            ConflictEffect::None => "no conflicts",
        };
        [
            mode.mode.word().to_owned(),
            needs.to_owned(),
            conflict.to_owned(),
            format!("at best {}", mode.guarantee.word()),
            mode.doc.clone(),
        ]
    };
    section(
        text,
        "write modes, the default first",
        &writer.modes.iter().map(row).collect::<Vec<_>>(),
    )
}

fn write_types(text: &mut String, heading: &str, types: &[TypeSupport]) -> Result {
    let row = |support: &TypeSupport| {
        [support.logical.clone(), support.native.join(", "), support.note.clone()]
    };
    section(text, heading, &types.iter().map(row).collect::<Vec<_>>())
}

fn section<const N: usize>(text: &mut String, heading: &str, rows: &[[String; N]]) -> Result {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{heading}")?;
    table(rows).lines().try_for_each(|line| writeln!(text, "  {line}"))
}

/// Pads each column to its widest cell, except the last.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &[String; N]| {
        let cell = |(cell, width): (&String, &usize)| format!("{cell:width$}");
        let cells: Vec<_> = row.iter().zip(&widths).map(cell).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
