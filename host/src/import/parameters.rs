//! Parameters in texts of old documents. DataX replaces `${name}` and `$name` in the whole document
//! before it reads it; a job replaces `${name}` alone, and in SQL as a value. Here the former becomes
//! the latter with the same meaning.

/// What was found in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The text as a job has it.
    pub(super) text: String,
    /// Names that were written without braces.
    pub(super) bare: Vec<String>,
    /// Names that become a part of the SQL as it is.
    pub(super) raw: Vec<String>,
}

/// A text that is no SQL.
pub(super) fn plain(text: &str) -> Found {
    convert(text, false)
}

/// A text that is SQL: a parameter outside of quotes that is no operand stays a part of the statement.
pub(super) fn sql(text: &str) -> Found {
    convert(text, true)
}

fn convert(text: &str, is_sql: bool) -> Found {
    let mut found = Found::default();
    let mut quote = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((name, length, has_braces)) = placeholder(rest, found.text.chars().last()) {
            let after = &rest[length..];
            let is_raw =
                is_sql && quote.is_none() && !is_schedule(name) && is_part(&found.text, after);
            found.text.push_str(&format!("${{{name}{}}}", if is_raw { "!raw" } else { "" }));
            if is_raw {
                found.raw.push(name.to_owned());
            }
            if !has_braces {
                found.bare.push(name.to_owned());
            }
            rest = after;
            continue;
        }
        match quote {
            Some(open) if open == c => quote = None,
            None if matches!(c, '\'' | '"' | '`') => quote = Some(c),
            _ => {}
        }
        found.text.push(c);
        rest = &rest[c.len_utf8()..];
    }
    found
}

/// The name of a parameter at the start of the text, how long it is, and whether it has braces.
/// `${...}` with more than a name stays as it is: it is an expression of a scheduler.
fn placeholder(text: &str, before: Option<char>) -> Option<(&str, usize, bool)> {
    let rest = text.strip_prefix('$')?;
    if let Some(inner) = rest.strip_prefix('{') {
        let end = inner.find('}')?;
        let name = &inner[..end];
        let is_name = !name.is_empty() && name.chars().all(is_word);
        return is_name.then_some((name, end + 3, true));
    }
    let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    let name = &rest[..end];
    let begins = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    // `$tag$` quotes a text in PostgreSQL.
    let is_tag = rest[end..].starts_with('$') || before == Some('$') || before.is_some_and(is_word);
    (begins && !is_tag).then_some((name, end + 1, false))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a parameter between these texts is a part of the statement, and neither an operand nor a
/// part of a name.
fn is_part(before: &str, after: &str) -> bool {
    if before.ends_with(is_word) || after.starts_with(is_word) {
        return false;
    }
    let before = before.trim_end();
    let is_list =
        before.ends_with('(') && ends_with_word(before.trim_end_matches('(').trim_end(), &["in"]);
    let is_operand = before.ends_with(['=', '<', '>', '+', '-', '*', '/', '%', ',', '('])
        || ends_with_word(
            before,
            &["between", "like", "limit", "offset", "interval", "then", "else"],
        )
        || ends_with_word(before, &["and"]) && is_in_between(before);
    is_list || !is_operand
}

fn ends_with_word(text: &str, words: &[&str]) -> bool {
    let last = text.rsplit(|c| !is_word(c)).next().unwrap_or_default();
    words.iter().any(|word| last.eq_ignore_ascii_case(word))
}

/// Whether the last `AND` of a text belongs to a `BETWEEN`.
fn is_in_between(text: &str) -> bool {
    let mut words = text.split(|c| !is_word(c)).filter(|word| !word.is_empty()).rev().skip(1);
    let found =
        words.find(|it| ["and", "between"].iter().any(|word| it.eq_ignore_ascii_case(word)));
    found.is_some_and(|word| word.eq_ignore_ascii_case("between"))
}

/// Names that a schedule gives, beside the ones of the command line.
const BUILT_IN: &[&str] =
    &["bizdate", "cyctime", "gmtdate", "bizmonth", "jobid", "nodeid", "taskid"];

/// Whether a name is a part of a date, such as `yyyymmdd`, or one of [`BUILT_IN`].
pub(super) fn is_schedule(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    if BUILT_IN.contains(&lower.as_str()) {
        return true;
    }
    let mut rest = lower.as_str();
    let starts = ["yyyy", "mm", "dd", "hh24", "add_months"].iter().any(|it| rest.starts_with(it));
    loop {
        let token = ["yyyy", "yy", "mm", "dd", "hh24", "hh12", "hh", "mi", "ss", "add_months"];
        let token = token.iter().find(|it| rest.starts_with(**it)).map_or(0, |it| it.len());
        let other = rest
            .chars()
            .next()
            .filter(|c| !c.is_alphabetic() && *c != '_')
            .map_or(0, char::len_utf8);
        match token.max(other) {
            0 => return starts && rest.is_empty(),
            length => rest = &rest[length..],
        }
    }
}

/// The parameters of texts that the user has to give, each once.
pub(super) fn names<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for text in texts {
        for part in text.split("${").skip(1) {
            let Some((name, _)) = part.split_once('}') else { continue };
            let name = name.strip_suffix("!raw").unwrap_or(name);
            if !is_schedule(name) && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_keep_their_meaning() {
        for (written, text) in [
            ("dt = '$bizdate'", "dt = '${bizdate}'"),
            ("dt >= ${start} and dt < ${end}", "dt >= ${start} and dt < ${end}"),
            ("${condition}", "${condition!raw}"),
            ("a = 1 and ${condition}", "a = 1 and ${condition!raw}"),
            ("id in (${ids})", "id in (${ids!raw})"),
            ("f(${x}, $y)", "f(${x}, ${y})"),
            ("d between ${a} and ${b}", "d between ${a} and ${b}"),
            ("d between 1 and 2 and ${b}", "d between 1 and 2 and ${b!raw}"),
            ("select * from t_${day}", "select * from t_${day}"),
            ("select * from ${table}", "select * from ${table!raw}"),
            ("select '${a b}', $1, $$x$$, $q$x$q$", "select '${a b}', $1, $$x$$, $q$x$q$"),
            (
                "dt = ${yyyymmdd-1} or dt = $[yyyymmdd-1]",
                "dt = ${yyyymmdd-1} or dt = $[yyyymmdd-1]",
            ),
        ] {
            assert_eq!(sql(written).text, text, "{written}");
        }
        assert_eq!(plain("t_$day").text, "t_$day", "a name that goes on before the sign");
        assert_eq!(plain("/in/$day/x").text, "/in/${day}/x");
    }

    #[test]
    fn names_of_schedules_are_known() {
        for name in ["bizdate", "yyyymmdd", "yyyy-mm-dd", "yyyymmdd-7*2", "hh24miss-1/24", "YYYYMM"]
        {
            assert!(is_schedule(name), "{name}");
        }
        for name in ["day", "start_date", "dd_table", "mmm", "ss"] {
            assert!(!is_schedule(name), "{name}");
        }
        assert_eq!(names(["${a} ${bizdate} ${a} ${b!raw}"]), ["a", "b"]);
    }
}
