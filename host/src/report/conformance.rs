//! What came of the conformance suite, as text.

use transload_plugin_api::testing::{Outcome, Report};

use super::page::{Cell, Page, Style};

/// The cases by area, the failed ones with what was expected and found, and the level.
pub(crate) fn list_conformance(page: &mut Page, report: &Report) {
    let Report { suite, plugin, version, level, cases, notes, .. } = report;
    page.heading(&format!("{plugin} {version}, conformance suite {suite}"));
    let row = |case: &Outcome| {
        let mark = match case.ok {
            true => Cell::styled("ok", Style::Good),
            false => Cell::styled("FAILED", Style::Bad),
        };
        vec![mark, case.area.as_str().into(), case.name.as_str().into()]
    };
    page.table(0, &cases.iter().map(row).collect::<Vec<_>>());
    for case in cases.iter().filter(|case| !case.ok) {
        page.gap();
        page.led(0, (Style::Bad, "FAILED "), &format!("{}: {}", case.area, case.name));
        case.detail.lines().for_each(|line| page.line(1, line));
    }
    if !notes.is_empty() {
        page.gap();
        notes.iter().for_each(|note| page.line(0, &format!("note: {note}")));
    }
    page.gap();
    let failed = cases.iter().filter(|case| !case.ok).count();
    match level {
        Some(level) => {
            page.line(0, &format!("{} cases passed; for the manifest:", cases.len()));
            page.line(0, "[conformance]");
            page.line(0, &format!("suite = \"{suite}\""));
            page.line(0, &format!("level = \"{level}\""));
        }
        None => page.line(0, &format!("{failed} of {} cases failed", cases.len())),
    }
}
