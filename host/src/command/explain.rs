//! `explain`: the page of an error code. The pages are the sections of `docs/errors.md`, so that the
//! document and the program say the same; those of a vendor's codes are in the plugin's descriptor.

use serde::Serialize;
use transload_plugin_api::{CodePage, Error as PluginError, code};

use super::{Ended, Session};
use crate::{Error, Exit, catalog::Catalog, nearest, report::Page};

const PAGES: &str = include_str!("../../../docs/errors.md");

/// What is printed as JSON.
#[derive(Serialize)]
struct Section<'a> {
    code: &'a str,
    /// Markdown.
    text: &'a str,
    /// The plugin that declares it.
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<&'a str>,
}

/// Prints the page of a code, or all codes with their meanings if none is given.
pub(super) fn explain(session: &Session, wanted: Option<&str>) -> Ended {
    let Some(wanted) = wanted else { return list(session) };
    let wanted = wanted.trim_matches(['[', ']']).to_uppercase();
    if let Some(text) = page(&wanted) {
        return print(session, &wanted, text, None);
    }
    let catalog = session.catalog();
    let of_plugins: Vec<_> = codes(&catalog).collect();
    // A code's own page goes before that of its prefix.
    let exact = of_plugins.iter().find(|(_, own)| own.code == wanted);
    let found = exact.or_else(|| of_plugins.iter().find(|(_, own)| own.covers(&wanted)));
    if let Some((plugin, own)) = found {
        return print(session, &wanted, own.page.trim(), Some(plugin));
    }
    let own = of_plugins.iter().map(|(_, own)| own.code.as_str());
    let all = code::ALL.iter().map(|(code, _)| *code).chain(own);
    let error = PluginError::options(format!("there is no error code `{wanted}`"));
    let hint = match nearest::nearest(&wanted, all) {
        Some(code) => format!("did you mean `{code}`?"),
        None => "`transload explain` lists all codes, also those that plugins declare".to_owned(),
    };
    Err(Error::from(error.hint(hint)).into())
}

/// The codes that plugins declare, with the plugin's name.
fn codes(catalog: &Catalog) -> impl Iterator<Item = (&str, &CodePage)> {
    let usable = catalog.list().iter().filter(|entry| entry.is_ok());
    let descriptors = usable.filter_map(|entry| entry.descriptor.as_ref());
    descriptors.flat_map(|plugin| plugin.codes.iter().map(|code| (plugin.name.as_str(), code)))
}

fn list(session: &Session) -> Ended {
    let catalog = session.catalog();
    let own = code::ALL.iter().map(|(code, meaning)| (*code, meaning.trim().to_owned()));
    let of_plugins = codes(&catalog)
        .map(|(plugin, own)| (own.code.as_str(), format!("{} (plugin `{plugin}`).", own.meaning)));
    let all: Vec<_> = own.chain(of_plugins).collect();
    session.print(&all, |page| {
        let row = |(code, meaning): &(&str, String)| vec![(*code).into(), meaning.as_str().into()];
        page.table(0, &all.iter().map(row).collect::<Vec<_>>());
    })?;
    Ok(Exit::Done)
}

fn print(session: &Session, code: &str, text: &str, plugin: Option<&str>) -> Ended {
    session.print(&Section { code, text, plugin }, |page| {
        page.heading(
            &plugin.map_or(code.to_owned(), |plugin| format!("{code} (plugin `{plugin}`)")),
        );
        page.gap();
        show(page, text);
    })?;
    Ok(Exit::Done)
}

/// Markdown without its marks: paragraphs break at the width of the page, code does not.
fn show(page: &mut Page, text: &str) {
    for (index, part) in
        text.replace("**", "").split("```").map(|part| part.replace("``", "")).enumerate()
    {
        if index % 2 == 1 {
            part.lines().skip(1).for_each(|line| page.line(4, line));
            continue;
        }
        for paragraph in part.trim().split("\n\n") {
            // Lists and tables have lines of their own.
            match paragraph.starts_with(['-', '|']) {
                true => paragraph.lines().for_each(|line| page.line(0, line)),
                false => page.paragraph(paragraph),
            }
            page.gap();
        }
    }
}

/// The section of a code; that of its prefix for a code of a database.
fn page(wanted: &str) -> Option<&'static str> {
    let is_prefix = |prefix: &&(&str, &str)| wanted.starts_with(prefix.0);
    let prefix = code::PREFIXES.iter().find(is_prefix).map(|(prefix, _)| format!("{prefix}..."));
    section_of(wanted).or_else(|| section_of(&prefix?))
}

fn section_of(title: &str) -> Option<&'static str> {
    let mut sections = PAGES.split("\n## ").skip(1);
    sections.find_map(|section| section.strip_prefix(title)?.strip_prefix('\n')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_of_three_parts_and_no_page_is_left_over() {
        let prefixes = code::PREFIXES.iter().map(|(prefix, _)| format!("{prefix}..."));
        let codes = code::ALL.iter().map(|(code, _)| (*code).to_owned()).chain(prefixes);
        let codes: Vec<_> = codes.collect();
        for code in &codes {
            let page = section_of(code).unwrap_or_else(|| panic!("docs/errors.md lacks `{code}`"));
            for part in ["**Cause.** ", "**Example.** ", "**What to do.** "] {
                assert_eq!(page.matches(part).count(), 1, "`{code}`: {part}");
            }
        }
        let titles = PAGES.lines().filter_map(|line| line.strip_prefix("## "));
        assert_eq!(titles.collect::<Vec<_>>(), codes, "the pages are in the order of the table");
    }

    #[test]
    fn a_code_of_a_database_has_the_page_of_its_prefix() {
        assert!(page("PG-23505").is_some_and(|text| text.contains("SQLSTATE")));
        assert!(page("PG-POOLER").is_some_and(|text| text.contains("pool_mode")));
        assert_eq!(page("NO CODE"), None);
    }
}
