//! The error of a table that is not there, or not to be seen: which one was meant, which there are,
//! and what else a name with wildcards may have asked for.

use transload_plugin_api::{Error, TableInfo, code, nearest::nearest};

use crate::{Dialect, TableName};

/// Names listed in a hint; of more only the first ones.
const LISTED: usize = 8;

/// The refusal of a table that does not exist. `tables` are those that the login sees.
pub(crate) fn missing_table(
    dialect: &dyn Dialect,
    name: &TableName,
    tables: &[TableInfo],
) -> Error {
    // Where a database has one schema only, it need not be shown.
    let is_shown = dialect.shown(name) != name.table;
    let message = match name.schema.as_ref().filter(|_| is_shown) {
        Some(schema) => format!("no table `{}` in `{schema}`", name.table),
        None => format!("no table `{}`", name.table),
    };
    Error::not_found(message).with_code(code::TABLE_MISSING).hint(hint(name, tables))
}

/// The refusal of a table that the login may not see, so that it looks like a missing one.
pub(crate) fn hidden_table(name: &TableName, tables: &[TableInfo], grant: Option<&str>) -> Error {
    let message = format!("`{name}` is not there, or this user may not see it");
    let hint = hint(name, tables);
    let hint = match grant {
        Some(grant) => format!("{hint}; if it is there: {grant}"),
        None => hint,
    };
    Error::not_found(message).with_code(code::TABLE_MISSING).hint(hint)
}

fn hint(name: &TableName, tables: &[TableInfo]) -> String {
    if name.table.contains(['*', '%', ',']) {
        return "for many tables, write `tables = [\"*\"]` in [reader] and `table = \"{table}\"` in \
                [writer]"
            .to_owned();
    }
    let known: Vec<TableName> = tables.iter().filter_map(|table| table.name.parse().ok()).collect();
    let beside: Vec<&TableName> =
        known.iter().filter(|table| is_beside(table, name, &known)).collect();
    let beside = if beside.is_empty() { known.iter().collect() } else { beside };
    let names: Vec<String> = beside.iter().map(|table| shown(table, name)).collect();
    if names.is_empty() {
        return "this login sees no tables there: is it the right database and schema?".to_owned();
    }
    let bare = beside.iter().map(|table| table.table.as_str());
    let near = nearest(&name.table, bare.clone())
        .and_then(|near| bare.clone().position(|table| table == near))
        .map(|at| format!("did you mean `{}`? ", names[at]));
    let more = if names.len() > LISTED { ", ..." } else { "" };
    let list = names.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    let tables = if names.len() == 1 { "table" } else { "tables" };
    let list = format!("{} {tables}: {list}{more}", names.len());
    near.map_or_else(|| list.clone(), |near| format!("{near}({list})"))
}

/// Whether a table is in the schema that the job names. A listing without schemas is of that schema,
/// if it is of one at all.
fn is_beside(table: &TableName, name: &TableName, known: &[TableName]) -> bool {
    match (&name.schema, &table.schema) {
        (Some(wanted), Some(own)) => wanted == own,
        (Some(_), None) => known.iter().all(|table| table.schema.is_none()),
        (None, _) => true,
    }
}

/// A known table as the hint names it: without the schema that the message names.
fn shown(table: &TableName, wanted: &TableName) -> String {
    match wanted.schema == table.schema {
        true => TableName::bare(&table.table).to_string(),
        false => table.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::tests::Standard;

    fn tables(names: &[&str]) -> Vec<TableInfo> {
        let info = |name: &&str| TableInfo::new(*name, "table");
        names.iter().map(info).collect()
    }

    #[test]
    fn the_nearest_name_comes_with_the_list() {
        let shop = ["customers", "items", "orders"];
        for (wanted, known, message, hint) in [
            (
                "ux_shop.custmers",
                &shop[..],
                "no table `custmers` in `ux_shop`",
                "did you mean `customers`? (3 tables: customers, items, orders)",
            ),
            ("payments", &shop, "no table `payments`", "3 tables: customers, items, orders"),
            (
                "public.order",
                &["public.orders", "sales.order"],
                "no table `order` in `public`",
                "did you mean `orders`? (1 table: orders)",
            ),
            (
                "order",
                &["public.orders"],
                "no table `order`",
                "did you mean `public.orders`? (1 table: public.orders)",
            ),
            (
                "a",
                &["b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b9"],
                "no table `a`",
                "9 tables: b1, b2, b3, b4, b5, b6, b7, b8, ...",
            ),
            (
                "a",
                &[],
                "no table `a`",
                "this login sees no tables there: is it the right database and schema?",
            ),
        ] {
            let error = missing_table(&Standard, &wanted.parse().unwrap(), &tables(known));
            assert_eq!((&*error.message, error.hint.as_deref()), (message, Some(hint)), "{wanted}");
        }
    }

    #[test]
    fn wildcards_are_answered_with_the_way_to_move_several_tables() {
        for wanted in ["*", "ux_shop.*", "ord%", "orders,customers"] {
            let error = missing_table(&Standard, &wanted.parse().unwrap(), &tables(&["orders"]));
            assert!(error.hint.unwrap().starts_with("for many tables, write"), "{wanted}");
        }
    }
}
