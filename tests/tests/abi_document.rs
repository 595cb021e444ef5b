//! `docs/abi.md` against the frozen types: every function of the ABI states its contract, the document
//! shows it, and has the version of each addition.
//! `TRANSLOAD_WRITE_DOCS=1 cargo test -p transload-tests --test abi_document` writes it anew.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{collections::BTreeMap, fs};

use transload_plugin_api::abi::ABI;
use transload_tests::documents::root;

/// The lines of a contract that every function has.
const STATED: [&str; 5] = ["Caller", "Thread", "State", "Owner", "Blocks"];

/// A function of a table, as its documentation states it.
struct Function {
    /// `ReaderVtable::splits`.
    table: String,
    name: String,
    /// The version that added it, from `Since 1.1.`.
    since: Option<String>,
    /// `Caller` and the others, by name.
    contract: BTreeMap<String, String>,
}

/// The functions of the module, in its order.
fn functions() -> Vec<Function> {
    let text = fs::read_to_string(root().join("plugin-api/src/abi/module.rs")).unwrap();
    let (mut table, mut docs, mut functions) = (String::new(), Vec::new(), Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            docs.push(comment.trim());
        } else if let Some(name) = line.strip_prefix("pub struct ") {
            table = name.trim_end_matches(" {").to_owned();
            docs.clear();
        } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|it| it.split_once(':'))
        {
            let docs = std::mem::take(&mut docs);
            if docs.iter().any(|line| line.starts_with("* ")) {
                functions.push(function(&table, name, &docs));
            }
        }
    }
    functions
}

fn function(table: &str, name: &str, docs: &[&str]) -> Function {
    let since = docs[0].strip_prefix("Since ").and_then(|text| text.split_once(". "));
    let (mut contract, mut last) = (BTreeMap::new(), String::new());
    for line in docs {
        if let Some((key, value)) = line.strip_prefix("* ").and_then(|it| it.split_once(": ")) {
            last = key.to_owned();
            contract.insert(last.clone(), value.to_owned());
        } else if let Some(value) = contract.get_mut(&last) {
            *value += &format!(" {line}");
        }
    }
    Function {
        table: table.to_owned(),
        name: name.to_owned(),
        since: since.map(|(version, _)| version.to_owned()),
        contract,
    }
}

fn tables(functions: &[Function]) -> String {
    let mut text = String::new();
    for (index, function) in functions.iter().enumerate() {
        if index == 0 || functions[index - 1].table != function.table {
            let head = "| function | caller | thread | state | owner | blocks | since |";
            text +=
                &format!("\n### `{}`\n\n{head}\n|---|---|---|---|---|---|---|\n", function.table);
        }
        text += &format!("| `{}` |", function.name);
        for key in STATED {
            text += &format!(" {} |", function.contract[key]);
        }
        text += &match (&function.since, function.contract.get("Missing")) {
            (Some(version), Some(missing)) => format!(" {version}; without it: {missing} |\n"),
            _ => " 1.0 |\n".to_owned(),
        };
    }
    text + "\n"
}

#[test]
fn every_function_states_its_contract() {
    let functions = functions();
    assert!(functions.len() > 40, "{} functions", functions.len());
    for Function { table, name, since, contract } in &functions {
        for key in STATED {
            assert!(contract.contains_key(key), "`{table}::{name}` does not state `{key}`");
        }
        let states = contract.contains_key("Missing");
        assert_eq!(since.is_some(), states, "`{table}::{name}`: an addition states its absence");
    }
}

#[test]
fn every_addition_is_in_the_table_of_versions() {
    let document = fs::read_to_string(root().join("docs/abi.md")).unwrap();
    assert!(document.contains(&format!("\n| {ABI} | ")), "docs/abi.md does not list {ABI}");
    for Function { name, since, .. } in functions() {
        let Some(version) = since else { continue };
        let row = document.lines().find(|line| line.starts_with(&format!("| {version} | ")));
        let row = row.unwrap_or_else(|| panic!("docs/abi.md does not list {version}"));
        assert!(row.contains(&format!("`{name}`")), "{version} lacks `{name}`: {row}");
    }
}

#[test]
fn the_document_shows_the_functions() {
    const BEGIN: &str = "<!-- functions: written by tests/tests/abi_document.rs -->\n";
    const END: &str = "<!-- end of functions -->";
    let path = root().join("docs/abi.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the beginning of the functions");
    let (shown, after) = rest.split_once(END).expect("the end of the functions");
    let written = tables(&functions());
    if std::env::var_os("TRANSLOAD_WRITE_DOCS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{written}{END}{after}")).unwrap();
    } else {
        assert!(
            shown == written,
            "docs/abi.md does not show plugin-api/src/abi/module.rs: write it anew with \
             TRANSLOAD_WRITE_DOCS=1 cargo test -p transload-tests --test abi_document"
        );
    }
}
