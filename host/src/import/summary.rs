//! The report of an import: a table of all documents, what is to be done, and, in a file, every note.

use std::fmt::Write as _;

use super::{
    batch::{DocumentReport, Imported, Status},
    notes::{Kind, Note},
    tool::Tool,
};
use crate::report::{Cell, Page, Style};

/// So many documents are shown with their notes; of more, the file has them.
const FEW: usize = 3;

/// The report for a terminal.
pub(crate) fn describe(page: &mut Page, imported: &Imported) {
    let documents = &imported.documents;
    let rows: Vec<_> = documents.iter().map(row).collect();
    let head = ["document", "", "job", "choices", "to do", "refused"]
        .map(|it| Cell::styled(it, Style::Strong));
    page.table(0, &[vec![head.to_vec()], rows].concat());
    for document in documents {
        let told = documents.iter().filter(|it| it.status != Status::Skipped).count();
        let is_short = told > FEW || document.status == Status::Refused;
        let shown: Vec<_> =
            document.notes.iter().filter(|note| !is_short || is_urgent(note.kind)).collect();
        if document.status == Status::Skipped || shown.is_empty() {
            continue;
        }
        page.gap();
        page.heading(&document.file.display().to_string());
        for note in shown {
            tell(page, note);
        }
    }
    page.gap();
    variables(page, imported);
    let counts = &imported.counts;
    page.line(0, &format!(
        "{} of {} documents imported without manual work ({} %), {} to be finished, {} refused{}",
        counts.imported,
        counts.documents - counts.skipped,
        counts.share(),
        counts.unfinished,
        counts.refused,
        match counts.skipped {
            0 => String::new(),
            skipped => format!("; other files skipped: {skipped}"),
        }
    ));
    page.line(0, &format!("report: {}", imported.report.display()));
}

fn is_urgent(kind: Kind) -> bool {
    matches!(kind, Kind::Todo | Kind::Refused)
}

fn row(document: &DocumentReport) -> Vec<Cell> {
    let (word, style) = match document.status {
        Status::Imported => ("imported", Style::Good),
        Status::Unfinished => ("to finish", Style::Warning),
        Status::Refused => ("refused", Style::Bad),
        Status::Skipped => ("skipped", Style::Plain),
    };
    let count = |kinds: &[Kind]| {
        let count = document.notes.iter().filter(|note| kinds.contains(&note.kind)).count();
        Cell::number(if count == 0 { String::new() } else { count.to_string() })
    };
    let jobs: Vec<_> = document.jobs.iter().map(|job| job.file.display().to_string()).collect();
    let is_skipped = document.status == Status::Skipped;
    vec![
        document.file.display().to_string().into(),
        Cell::styled(word, style),
        jobs.join(", ").into(),
        count(&[Kind::Kept, Kind::Repaired]),
        count(&[Kind::Todo]),
        if is_skipped { Cell::number("") } else { count(&[Kind::Refused]) },
    ]
}

fn tell(page: &mut Page, note: &Note) {
    let style = match note.kind {
        Kind::Refused => Style::Bad,
        Kind::Todo => Style::Warning,
        _ => Style::Label,
    };
    let lead = format!("{:>4}:{:<3} {}: ", note.line, note.column, words(note));
    page.led(2, (style, &lead), &text(note));
    if let Some(hint) = &note.hint {
        page.line(6, hint);
    }
}

fn words(note: &Note) -> String {
    match (note.code, note.choice) {
        (Some(code), _) => format!("{} [{code}]", note.kind.word()),
        (None, Some(name)) => format!("{} {name}", note.kind.word()),
        (None, None) => note.kind.word().to_owned(),
    }
}

fn text(note: &Note) -> String {
    match note.path.is_empty() {
        true => note.message.clone(),
        false => format!("`{}`: {}", note.path, note.message),
    }
}

fn variables(page: &mut Page, imported: &Imported) {
    if !imported.blank.is_empty() {
        let names: Vec<_> = imported.blank.iter().map(|name| format!("`{name}`")).collect();
        page.line(
            0,
            &format!("Fill in these connections in connections.toml: {}", names.join(", ")),
        );
        page.gap();
    }
    if imported.variables.is_empty() {
        return;
    }
    page.line(0, "Set these variables, or replace the references in connections.toml:");
    for variable in &imported.variables {
        page.line(2, &format!("{}  for `{}`", variable.name, variable.of));
    }
    page.gap();
}

/// The report of all documents with all notes, as Markdown.
pub(crate) fn markdown(imported: &Imported, tool: Tool) -> String {
    let counts = &imported.counts;
    let mut text = format!(
        "# Import of {} documents\n\n{} documents: {} imported without manual work ({} %), {} to be finished, \
         {} refused, {} skipped.\n",
        tool.name(),
        counts.documents,
        counts.imported,
        counts.share(),
        counts.unfinished,
        counts.refused,
        counts.skipped
    );
    if !imported.blank.is_empty() {
        text.push_str("\n## Connections to fill in\n\n");
        for name in &imported.blank {
            let _ = writeln!(text, "- `{name}`");
        }
    }
    if !imported.variables.is_empty() {
        text.push_str("\n## Variables to set\n\n");
        for variable in &imported.variables {
            let _ = writeln!(text, "- `{}` for `{}`", variable.name, variable.of);
        }
    }
    text.push_str(tool.always());
    for document in imported.documents.iter().filter(|it| it.status != Status::Skipped) {
        let jobs: Vec<_> =
            document.jobs.iter().map(|job| format!("`{}`", job.file.display())).collect();
        let jobs = if jobs.is_empty() { "not imported".to_owned() } else { jobs.join(", ") };
        let _ = writeln!(text, "\n## `{}`: {jobs}\n", document.file.display());
        if document.notes.is_empty() {
            text.push_str("Nothing to note.\n");
        }
        for note in &document.notes {
            let place = format!("{}:{}", note.line, note.column);
            let hint = note.hint.as_ref().map(|hint| format!(" — {hint}")).unwrap_or_default();
            let _ = writeln!(text, "- {place} **{}** {}{hint}", words(note), self::text(note));
        }
    }
    text
}
