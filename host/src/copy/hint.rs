//! Hints of plugins and of the plan name keys of a job file. On a command line the same is said by
//! flags: `write_mode = "overwrite"` is `--mode overwrite`.

use super::End;

/// The hint with its keys as flags. Options that have no flag of their own are those of `end`, or of
/// TO if it is not known.
pub(crate) fn in_flags(hint: &str, end: Option<End>) -> String {
    let hint = types_in_flags(hint).replace("`[channel] ", "`");
    let parts: Vec<_> = hint.split('`').collect();
    let mut said = String::new();
    for (index, part) in parts.iter().enumerate() {
        let is_quoted = index % 2 == 1 && index + 1 < parts.len();
        match is_quoted.then(|| flag(part, end)).flatten() {
            Some(flag) => said += &format!("`{flag}`"),
            None if index % 2 == 1 => {
                said += &format!("`{part}{}", if is_quoted { "`" } else { "" });
            }
            None => said += part,
        }
    }
    let said = said.replace("` in [guarantee]", "`").replace("write_mode = \"", "--mode \"");
    said.replace("in [reader.schema]", "with --type")
        .replace("[reader.schema]", "--type")
        .replace("`[reader]`", "FROM")
        .replace("`[writer]`", "TO")
}

/// `NAME = "TYPE" in [reader.schema]` as `--type NAME=TYPE`.
fn types_in_flags(hint: &str) -> String {
    const BEHIND: &str = " in [reader.schema]";
    let Some((before, after)) = hint.split_once(BEHIND) else { return hint.to_owned() };
    let flag = || {
        let text = before.strip_suffix('`').unwrap_or(before).strip_suffix('"')?;
        let (text, logical) = text.rsplit_once(" = \"")?;
        let (text, name) = match text.strip_suffix('"') {
            Some(text) => text.rsplit_once('"')?,
            None => text.split_at(text.rfind(['`', ' ']).map_or(0, |at| at + 1)),
        };
        let text = text.strip_suffix('`').unwrap_or(text);
        Some(format!("{text}`--type {}`", word(&format!("{name}={logical}"))))
    };
    match flag() {
        Some(flag) => flag + &types_in_flags(after),
        None => format!("{before}{BEHIND}{}", types_in_flags(after)),
    }
}

/// The flag for `key = value`.
fn flag(part: &str, end: Option<End>) -> Option<String> {
    let (key, value) = part.split_once(" = ")?;
    let is_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if key.is_empty() || !key.chars().all(is_key) {
        return None;
    }
    let list = value.trim_start_matches('[').trim_end_matches(']').replace(['"', ' '], "");
    let text = value.trim_matches('"');
    Some(match key {
        "create_table" if value == "true" => "--create".to_owned(),
        "write_mode" => format!("--mode {}", word(text)),
        "key" if list == "..." => "--key COLUMN".to_owned(),
        "key" => format!("--key {}", word(&list)),
        "columns" => format!("--columns {}", word(&list)),
        "update_columns" => format!("--update {}", word(&list)),
        "parallelism" => format!("--parallelism {value}"),
        "max_rows" => format!("--max-dirty {text}"),
        "require" => format!("--require {text}"),
        "where" => format!("--where {}", word(text)),
        "plugin" | "connection" => return None,
        _ => {
            let flag = end.unwrap_or(End::To).flag();
            format!("{flag}-option {}", word(&format!("{key}={text}")))
        }
    })
}

/// A word for a shell.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-.,:=/@%+".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_flags() {
        for (hint, end, expected) in [
            ("`create_table = true` creates it", None, "`--create` creates it"),
            ("use `write_mode = \"on conflict\"`", None, "use `--mode 'on conflict'`"),
            ("set `[channel] parallelism = 1`", None, "set `--parallelism 1`"),
            ("`key = [\"a\", \"b\"]`", None, "`--key a,b`"),
            ("`delimiter = \";\"`?", Some(End::From), "`--from-option 'delimiter=;'`?"),
            ("`overwrite = \"swap\"`", None, "`--to-option overwrite=swap`"),
            ("`require = \"x\"` in [guarantee] lets", None, "`--require x` lets"),
            ("again? write_mode = \"upsert\" or", None, "again? --mode \"upsert\" or"),
            ("did you mean `orders`?", None, "did you mean `orders`?"),
            ("write `a = b", None, "write `a = b"),
            ("`d = \"date\"` in [reader.schema]", Some(End::From), "`--type d=date`"),
            ("write a = \"text\" in [reader.schema]", None, "write `--type a=text`"),
            ("\"c d\" = \"json\" in [reader.schema]; or", None, "`--type 'c d=json'`; or"),
            ("name the columns in [reader.schema]", None, "name the columns with --type"),
        ] {
            assert_eq!(in_flags(hint, end), expected);
        }
    }
}
