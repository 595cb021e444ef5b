//! Plugins, their descriptors, connections and findings as text.

use serde::Serialize;
use transload_plugin_api::{
    Addressing, ConflictEffect, Descriptor, Error, Finding, KeyNeed, Limits, OptionKind,
    OptionScope, OptionSpec, SplitAbility, TypeSupport, WriteModeSpec,
};

use super::{
    page::{Cell, Page, Style},
    summary::binary_size,
};
use crate::{
    catalog::{Entry, Status, Trust},
    job::ConnectionEntry,
    nearest,
};

/// Words of a choice that a list of options shows.
const WORDS: usize = 8;
/// Where what a word stands for begins.
const LABEL: usize = 12;

/// All libraries as a table, with the reason where one is refused.
pub(crate) fn list_plugins(page: &mut Page, entries: &[Entry]) {
    if entries.is_empty() {
        let text = "no plugins found; name their folder with --plugins or TRANSLOAD_PLUGIN_PATH";
        return page.line(0, text);
    }
    let mut rows = vec![head(["name", "version", "roles", "trust", "status", "library"])];
    for entry in entries {
        let roles: Vec<_> = entry.roles.iter().map(ToString::to_string).collect();
        let (status, style) = match &entry.status {
            Status::Ok if entry.is_unsigned() => ("ok".to_owned(), Style::Warning),
            Status::Ok => ("ok".to_owned(), Style::Good),
            Status::Refused { reason } => (format!("refused: {reason}"), Style::Bad),
            Status::Shadowed { by } => (format!("shadowed by {}", by.display()), Style::Warning),
        };
        rows.push(vec![
            entry.name.as_str().into(),
            entry.version.clone().unwrap_or_default().into(),
            roles.join(", ").into(),
            entry.trust.map_or("", Trust::word).into(),
            Cell::styled(status, style),
            entry.path.display().to_string().into(),
        ]);
    }
    page.table(0, &rows);
}

/// All connections as a table.
pub(crate) fn list_connections(page: &mut Page, entries: &[ConnectionEntry]) {
    if entries.is_empty() {
        return page.line(
            0,
            "no connections found; define them in `connections.toml`, here, in ~/.config/transload \
             or in /etc/transload",
        );
    }
    let mut rows = vec![head(["name", "environment", "plugin", "file"])];
    for entry in entries {
        let note = if entry.hidden { " (hidden by a nearer file)" } else { "" };
        rows.push(vec![
            entry.name.as_str().into(),
            entry.environment.clone().unwrap_or_default().into(),
            entry.plugin.clone().unwrap_or_default().into(),
            format!("{}{note}", entry.file.display()).into(),
        ]);
    }
    page.table(0, &rows);
}

fn head<const N: usize>(words: [&str; N]) -> Vec<Cell> {
    words.map(|word| Cell::styled(word, Style::Strong)).to_vec()
}

/// The stages of a check, one per line.
pub(crate) fn list_findings(page: &mut Page, findings: &[Finding]) {
    let row = |finding: &Finding| {
        let warning = finding.detail.strip_prefix("warning: ");
        let mark = match (finding.ok, warning) {
            (true, None) => Cell::styled("ok", Style::Good),
            (true, Some(_)) => Cell::styled("warn", Style::Warning),
            (false, _) => Cell::styled("FAILED", Style::Bad),
        };
        vec![mark, finding.stage.as_str().into(), warning.unwrap_or(&finding.detail).into()]
    };
    page.table(0, &findings.iter().map(row).collect::<Vec<_>>());
}

/// Everything that a plugin declares.
pub(crate) fn describe_plugin(page: &mut Page, descriptor: &Descriptor, entry: Option<&Entry>) {
    let Descriptor { name, version, summary, vendor, .. } = descriptor;
    let vendor = if vendor.is_empty() { String::new() } else { format!(" by {vendor}") };
    page.heading(&format!("{name} {version}{vendor}"));
    page.line(0, summary);
    addresses(page, descriptor);
    options(page, "options of both roles", &descriptor.options);
    if let Some(reader) = &descriptor.reader {
        options(page, "reader's options", &reader.options);
    }
    if let Some(writer) = &descriptor.writer {
        options(page, "writer's options", &writer.options);
        modes(page, &writer.modes);
    }
    let types = [
        ("reader", descriptor.reader.as_ref().map(|reader| &reader.types)),
        ("writer", descriptor.writer.as_ref().map(|writer| &writer.types)),
    ];
    for (role, types) in types.into_iter().filter_map(|(role, types)| Some((role, types?))) {
        let families: Vec<_> = types.iter().map(|support| support.logical.as_str()).collect();
        page.gap();
        page.heading(&format!("{role}'s types"));
        page.line(2, &families.join(", "));
    }
    limits(page, descriptor);
    codes(page, descriptor);
    entry.into_iter().for_each(|entry| library(page, entry));
    page.gap();
    page.line(
        0,
        &format!(
            "`transload plugin info {name} OPTION` shows one option, and \
        `transload plugin info {name} types` the types of the store"
        ),
    );
    if !descriptor.example.is_empty() {
        page.gap();
        page.heading("example of a job");
        descriptor.example.lines().for_each(|line| page.line(2, line));
    }
}

/// Whether its code may run, and which bytes they are.
fn library(page: &mut Page, entry: &Entry) {
    let trust = entry.trust.map_or("unknown", Trust::word);
    let publisher = entry.publisher.as_ref().map(|name| format!(", publisher {name}"));
    page.gap();
    page.heading("library");
    page.pair(2, "trust", LABEL, &format!("{trust}{}", publisher.unwrap_or_default()));
    page.pair(2, "file", LABEL, &entry.path.display().to_string());
    page.pair(2, "sha256", LABEL, &entry.sha256);
}

/// How far the store goes, and how splits are read again.
fn limits(page: &mut Page, descriptor: &Descriptor) {
    let mut lines = Vec::new();
    if let Some(reader) = &descriptor.reader {
        lines.push(match reader.ability {
            SplitAbility::Seekable => "reading continues at any row".to_owned(),
            SplitAbility::Replayable => "a part is read again from its start".to_owned(),
            SplitAbility::Bounded => "a part that has begun cannot be read again".to_owned(),
            SplitAbility::Volatile => "rows can be read once only".to_owned(),
        });
    }
    if let Some(writer) = &descriptor.writer {
        let Limits { identifier_bytes, decimal_digits, packet_bytes, chunk_bytes, transactional } =
            &writer.limits;
        lines.extend(identifier_bytes.map(|bytes| format!("names of at most {bytes} bytes")));
        lines.extend(decimal_digits.map(|digits| format!("decimals of at most {digits} digits")));
        lines.extend(packet_bytes.map(|it| format!("requests of at most {}", binary_size(it))));
        lines.extend(chunk_bytes.map(|it| format!("chunks of {} suit it", binary_size(it))));
        let chunk = if *transactional {
            "a chunk is one transaction"
        } else {
            "a chunk that fails may leave rows"
        };
        lines.push(chunk.to_owned());
    }
    page.gap();
    page.heading("limits");
    lines.iter().for_each(|line| page.line(2, line));
}

/// Its own error codes, and what its counts mean.
fn codes(page: &mut Page, descriptor: &Descriptor) {
    let codes = descriptor.codes.iter().map(|own| (own.code.as_str(), own.meaning.as_str()));
    let counts = descriptor.counts.iter().map(|own| (own.name.as_str(), own.doc.as_str()));
    for (heading, rows) in [
        ("error codes, see `transload explain CODE`", codes.collect::<Vec<_>>()),
        ("counts in the report", counts.collect()),
    ] {
        if !rows.is_empty() {
            page.gap();
            page.heading(heading);
            let row = |(name, doc): &(&str, &str)| vec![(*name).into(), (*doc).into()];
            page.table(2, &rows.iter().map(row).collect::<Vec<_>>());
        }
    }
}

/// The words that name a source or target of the plugin on a command line.
fn addresses(page: &mut Page, descriptor: &Descriptor) {
    let Addressing { object, urls, paths } = &descriptor.addressing;
    if descriptor.addressing.is_empty() {
        return;
    }
    page.gap();
    page.heading("in `transload copy`");
    for url in urls {
        page.line(2, &url.example);
        if url.schemes.len() > 1 {
            page.line(4, &format!("also {}", url.schemes[1..].join(", ")));
        }
    }
    if let Some(paths) = paths {
        let fragment =
            if paths.fragment.is_empty() { String::new() } else { format!(" #{}", paths.fragment) };
        let extensions = paths.extensions.iter().map(|extension| format!(".{extension}"));
        let mut words =
            vec![format!("paths{fragment}: {}", extensions.collect::<Vec<_>>().join(" "))];
        if !paths.suffixes.is_empty() {
            let suffixes = paths.suffixes.iter().map(|suffix| format!(".{suffix}"));
            words.push(format!("with {}", suffixes.collect::<Vec<_>>().join(" ")));
        }
        page.line(2, &words.join(", "));
    }
    if !object.is_empty() {
        page.line(2, &format!("CONNECTION:{}", object.to_uppercase()));
    }
}

/// What `plugin info PLUGIN OPTION` shows.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Detail<'a> {
    /// An option of this name, for each role that has its own.
    Options(Vec<PlacedOption<'a>>),
    /// The types of each role.
    Types {
        /// Those of batches.
        reader: &'a [TypeSupport],
        /// Those that it accepts.
        writer: &'a [TypeSupport],
    },
}

/// An option and the sections of a job that it belongs to.
#[derive(Serialize)]
pub(crate) struct PlacedOption<'a> {
    place: &'static str,
    #[serde(flatten)]
    option: &'a OptionSpec,
}

/// The option `key` of a plugin, or its `types`.
///
/// # Errors
/// If the plugin has no such option.
pub(crate) fn detail<'a>(descriptor: &'a Descriptor, key: &str) -> Result<Detail<'a>, Error> {
    let found: Vec<_> = all_options(descriptor).filter(|placed| placed.option.key == key).collect();
    match found.is_empty() {
        false => Ok(Detail::Options(found)),
        true if key == "types" => Ok(Detail::Types {
            reader: descriptor.reader.as_ref().map_or(&[], |reader| &reader.types),
            writer: descriptor.writer.as_ref().map_or(&[], |writer| &writer.types),
        }),
        true => Err(no_option(descriptor, key)),
    }
}

/// Puts it on a page.
pub(crate) fn describe_detail(page: &mut Page, detail: &Detail<'_>) {
    match detail {
        Detail::Options(options) => options.iter().for_each(|placed| describe_one(page, placed)),
        Detail::Types { reader, writer } => {
            types(page, "reader", reader);
            types(page, "writer", writer);
        }
    }
}

/// The error for an option that a plugin does not have.
fn no_option(descriptor: &Descriptor, key: &str) -> Error {
    let name = &descriptor.name;
    let error = Error::options(format!("plugin `{name}` has no option `{key}`"));
    let keys = all_options(descriptor).map(|placed| placed.option.key.as_str());
    error.hint(match nearest::nearest(key, keys) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("`transload plugin info {name}` lists its options"),
    })
}

fn all_options(descriptor: &Descriptor) -> impl Iterator<Item = PlacedOption<'_>> {
    let reader = descriptor.reader.iter().flat_map(|reader| &reader.options);
    let writer = descriptor.writer.iter().flat_map(|writer| &writer.options);
    let both = descriptor.options.iter().map(|option| ("[reader] and [writer]", option));
    both.chain(reader.map(|option| ("[reader]", option)))
        .chain(writer.map(|option| ("[writer]", option)))
        .map(|(place, option)| PlacedOption { place, option })
}

fn describe_one(page: &mut Page, placed: &PlacedOption<'_>) {
    let PlacedOption { place, option } = placed;
    page.heading(&option.key);
    let place = match option.scope {
        OptionScope::Connection => format!("{place}, or a connection"),
        OptionScope::Job => (*place).to_owned(),
    };
    page.pair(2, "place", LABEL, &place);
    page.pair(2, "type", LABEL, &kind(&option.kind, usize::MAX));
    if let Some(default) = default(option) {
        page.pair(2, "default", LABEL, &default);
    }
    let marks = marks(option);
    if !marks.is_empty() {
        page.pair(2, "note", LABEL, &marks.join(", "));
    }
    page.hung(2, (Style::Plain, ""), &option.doc, 2);
    page.gap();
}

fn options(page: &mut Page, heading: &str, options: &[OptionSpec]) {
    if options.is_empty() {
        return;
    }
    page.gap();
    page.heading(heading);
    for option in options {
        let mut words = vec![kind(&option.kind, WORDS)];
        words.extend(marks(option).into_iter().map(str::to_owned));
        if option.scope == OptionScope::Connection && !option.secret {
            words.push("also in a connection".to_owned());
        }
        words.extend(default(option).map(|default| format!("default {default}")));
        page.led(2, (Style::Label, &option.key), &format!("  ({})", words.join(", ")));
        page.hung(6, (Style::Plain, ""), &option.doc, 6);
    }
}

/// What is special about an option.
fn marks(option: &OptionSpec) -> Vec<&'static str> {
    let marks = [
        (option.required, "required"),
        (option.secret, "secret, best in a connection"),
        (option.sql, "SQL"),
    ];
    marks.iter().filter(|mark| mark.0).map(|mark| mark.1).collect()
}

/// The default as a job would write it.
fn default(option: &OptionSpec) -> Option<String> {
    let default = option.default.as_ref()?;
    Some(match (&option.kind, default.as_u64()) {
        (OptionKind::Size, Some(size)) => format!("\"{}\"", binary_size(size)),
        _ => default.to_string(),
    })
}

/// The type of an option, with its bounds or choices, of which at most `words` are named.
fn kind(kind: &OptionKind, words: usize) -> String {
    match kind {
        OptionKind::Text => "text".into(),
        OptionKind::Boolean => "true or false".into(),
        OptionKind::Integer { min, max } => match (*min, *max) {
            (min, i64::MAX) => format!("integer from {min}"),
            (min, max) => format!("integer from {min} to {max}"),
        },
        OptionKind::Float { min, max } => format!("number from {min} to {max}"),
        OptionKind::Size => "size such as \"64 MiB\"".into(),
        OptionKind::Duration => "duration such as \"30 s\"".into(),
        OptionKind::Choice(choices) if choices.len() > words => {
            format!("{} and {} more", choices[..words].join(" | "), choices.len() - words)
        }
        OptionKind::Choice(choices) => choices.join(" | "),
        OptionKind::Path => "path".into(),
        OptionKind::Paths => "path or list of paths".into(),
        OptionKind::List => "text or list of texts".into(),
        OptionKind::Map => "table of texts".into(),
        _ => "other".into(),
    }
}

fn modes(page: &mut Page, modes: &[WriteModeSpec]) {
    page.gap();
    page.heading("write modes, the default first");
    for mode in modes {
        let needs = match mode.needs {
            KeyNeed::Nothing => "no key needed",
            KeyNeed::UniqueKey => "needs a primary or unique key",
            KeyNeed::PrimaryKey => "needs a primary key",
        };
        let conflict = match mode.conflict {
            ConflictEffect::Dirty => "an existing key makes the row dirty",
            ConflictEffect::Skip => "rows with an existing key are skipped",
            ConflictEffect::Update => "rows with an existing key update it",
            ConflictEffect::Replace => "rows with an existing key replace it",
            ConflictEffect::None => "no conflicts",
        };
        let words = format!("  ({needs}; {conflict}; at best {})", mode.guarantee.word());
        page.led(2, (Style::Label, mode.mode.word()), &words);
        page.hung(6, (Style::Plain, ""), &mode.doc, 6);
    }
}

fn types(page: &mut Page, role: &str, types: &[TypeSupport]) {
    if types.is_empty() {
        return;
    }
    page.heading(&format!("{role}'s types"));
    let row = |support: &TypeSupport| {
        vec![
            Cell::from(support.logical.as_str()),
            support.native.join(", ").into(),
            support.note.as_str().into(),
        ]
    };
    page.table(2, &types.iter().map(row).collect::<Vec<_>>());
    page.gap();
}
