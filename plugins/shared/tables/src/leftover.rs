//! Stage tables that runs have left beside a target because they were killed: how they are known by
//! their names, and what the plan says of them. Dropping them is `writer`'s decision.

use crate::{Dialect, TableName};

/// What the names of a target's stage tables begin with.
pub(crate) fn prefix(dialect: &dyn Dialect, target: &str) -> String {
    format!("{}__transload_", dialect.stem(target))
}

/// Whether the table is a stage, or what a swap has left of an old target, of another run than
/// `run`. `prefix` is [`prefix`] of the target.
pub(crate) fn is_left(prefix: &str, table: &str, run: &str) -> bool {
    let Some(rest) = table.strip_prefix(prefix) else { return false };
    let id = rest.strip_prefix("old_").unwrap_or(rest);
    id != run && is_run(id)
}

/// Whether this is the id of a run: `20261130t133835-d56fea35`.
fn is_run(id: &str) -> bool {
    let digits =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = id.split_once('t').and_then(|(day, rest)| Some((day, rest.split_once('-')?)));
    parts.is_some_and(|(day, (time, random))| {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        digits(day, 8) && digits(time, 6) && random.len() == 8 && random.bytes().all(is_hex)
    })
}

/// The warning of a plan; `None` without such tables.
pub(crate) fn warning(dialect: &dyn Dialect, left: &[TableName], sweeps: bool) -> Option<String> {
    let first = dialect.quoted_table(left.first()?);
    let names: Vec<_> = left.iter().map(|name| format!("`{}`", dialect.shown(name))).collect();
    let removed = match sweeps {
        true => "an `overwrite` removes those that no run uses".to_owned(),
        false => format!("if no run writes the target, remove them: DROP TABLE {first}"),
    };
    let names = names.join(", ");
    Some(format!("runs that did not end have left stage tables: {names}; {removed}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::tests::Standard;

    #[test]
    fn only_stages_of_other_runs_are_left_over() {
        let run = "20261130t133835-d56fea35";
        for (table, left) in [
            ("t__transload_20261130t133836-d56fea35", true),
            ("t__transload_old_20261130t133836-d56fea35", true),
            ("t__transload_20261130t133835-d56fea35", false),
            ("t__transload_20261130t13383-d56fea35", false),
            ("t__transload_20261130t133836-D56fea35", false),
            ("t__transload_mine", false),
            ("t__transload_", false),
            ("tt__transload_20261130t133836-d56fea35", false),
            ("t", false),
        ] {
            assert_eq!(is_left(&prefix(&Standard, "t"), table, run), left, "{table}");
        }
        let long = "a_table_with_a_name_that_is_cut_in_those_of_its_stages";
        let stage = Standard.derived_name(long, "transload_20261130t133836-d56fea35");
        assert!(is_left(&prefix(&Standard, long), &stage, run));
        assert!(!is_left(&prefix(&Standard, &format!("{long}s")), &stage, run));
    }

    #[test]
    fn the_plan_names_them_with_a_statement() {
        let left = [TableName::bare("a"), TableName::bare("b")];
        assert_eq!(warning(&Standard, &[], true), None);
        let words = warning(&Standard, &left, true).unwrap();
        assert!(words.contains("stage tables: `a`, `b`; an `overwrite` removes"), "{words}");
        let words = warning(&Standard, &left, false).unwrap();
        assert!(words.ends_with(r#"remove them: DROP TABLE "a""#), "{words}");
    }
}
