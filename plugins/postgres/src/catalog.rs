//! Tables, columns and keys, from the database's catalog.

use transload_plugin_api::{
    Column, Error, Key, LogicalType, Result, TableInfo, TablePage, TableRequest,
};
use transload_tables::{TableName, known_columns};

use crate::{
    answer::TextRow,
    dialect::quoted_table,
    native::{FORM_NAME, native_form, wire_of},
    session::Session,
    types::{self, ColumnType, TextRule, TypeFacts, column_type, numeric_bounds},
};

/// A table or view.
pub(crate) struct Table {
    pub(crate) oid: u32,
    /// With its schema.
    pub(crate) name: TableName,
    pub(crate) kind: TableKind,
    pub(crate) columns: Vec<TableColumn>,
    pub(crate) keys: Vec<TableKey>,
    /// An estimate; 0 if the server has none.
    pub(crate) rows: u64,
    /// Pages of the table's own file.
    pub(crate) pages: u64,
    /// The table's own triggers.
    pub(crate) triggers: Vec<String>,
    /// Triggers, also of partitions, that can suppress or change a row before it is written.
    pub(crate) row_triggers: Vec<String>,
    /// Other tables whose foreign keys refer to the table.
    pub(crate) referring: Vec<String>,
    /// Tables that inherit from it, partitions excepted.
    pub(crate) children: Vec<String>,
    /// Row security hides rows from this login.
    pub(crate) is_filtered: bool,
    /// The policies of its row security.
    pub(crate) policies: Vec<String>,
    /// What this login may do with the table as a whole, beside the rights on columns.
    pub(crate) rights: TableRights,
    /// Foreign keys of the table to itself, and to tables that this login does not read.
    pub(crate) references: Vec<String>,
}

/// Rights on a table as a whole, and on what surrounds it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TableRights {
    pub(crate) select: bool,
    pub(crate) truncate: bool,
    /// To create tables in its schema.
    pub(crate) create: bool,
    /// To create temporary tables.
    pub(crate) temporary: bool,
}

/// Rights on a column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnRights {
    pub(crate) select: bool,
    pub(crate) insert: bool,
    pub(crate) update: bool,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableKind {
    Table,
    Partitioned,
    Materialized,
    View,
    Foreign,
    Other,
}

impl TableKind {
    fn of(letter: &str) -> Self {
        match letter {
            "r" => Self::Table,
            "p" => Self::Partitioned,
            "m" => Self::Materialized,
            "v" => Self::View,
            "f" => Self::Foreign,
            _ => Self::Other,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Partitioned => "partitioned table",
            Self::Materialized => "materialized view",
            Self::View => "view",
            Self::Foreign => "foreign table",
            Self::Other => "other",
        }
    }
}

/// One column.
#[derive(Clone, Debug)]
pub(crate) struct TableColumn {
    pub(crate) column: Column,
    pub(crate) kind: ColumnType,
    pub(crate) identity: Identity,
    /// The sequence that fills it, quoted.
    pub(crate) sequence: Option<String>,
    /// Precision and scale of a `numeric(p,s)` that is no decimal type.
    pub(crate) bounds: Option<(i32, i32)>,
    /// The type below all domains, without length or precision.
    pub(crate) bare: String,
    /// The server bends values to fit it.
    pub(crate) bends: bool,
    /// What follows the column where it is read.
    pub(crate) reading_cast: &'static str,
    /// What a text must be like, so that the server does not bend it.
    pub(crate) rule: Option<TextRule>,
    pub(crate) rights: ColumnRights,
}

impl TableColumn {
    /// A column of a query's result, of a type with these names.
    pub(crate) fn of_query(name: String, names: TypeNames, facts: TypeFacts) -> Self {
        let kind = column_type(facts);
        let mut column = Column::new(name, kind.logical.clone(), true);
        column.native = names.native;
        column.native_form = native_form(facts, &names.form);
        Self {
            column,
            kind,
            identity: Identity::None,
            sequence: None,
            bounds: None,
            bare: String::new(),
            bends: types::bends(facts),
            reading_cast: types::reading_cast(facts),
            rule: types::text_rule(facts),
            rights: ColumnRights { select: true, insert: false, update: false },
        }
    }

    /// The column as the planned one is written to it: in the native form, if the plan has chosen
    /// that.
    pub(crate) fn written_as(&self, planned: &Column) -> Self {
        let mut column = self.clone();
        if let LogicalType::Native(form) = &planned.logical
            && self.column.native_form.as_ref() == Some(&**form)
        {
            let (wire, by_text) = wire_of(form);
            column.kind = ColumnType { logical: planned.logical.clone(), wire, by_text };
            column.column.logical = planned.logical.clone();
            (column.bounds, column.rule, column.bends) = (None, None, false);
        }
        column
    }
}

/// The names of a type.
pub(crate) struct TypeNames {
    /// As the server prints it.
    pub(crate) native: String,
    /// Of its native form.
    pub(crate) form: String,
}

/// The column of this name.
pub(crate) fn find_column<'a>(own: &'a [TableColumn], name: &str) -> Result<&'a TableColumn> {
    own.iter().find(|column| column.column.name == name).ok_or_else(|| {
        Error::schema(format!("the source has no column `{name}`")).hint(known_columns(own))
    })
}

impl AsRef<Column> for TableColumn {
    fn as_ref(&self) -> &Column {
        &self.column
    }
}

/// `GENERATED ... AS IDENTITY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    None,
    ByDefault,
    Always,
}

/// One unique index.
#[derive(Clone, Debug)]
pub(crate) struct TableKey {
    pub(crate) key: Key,
    /// NULL equals no other NULL.
    pub(crate) nulls_distinct: bool,
}

impl Table {
    pub(crate) fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.column.name == name)
    }

    /// Whether it has rows of its own, or partitions that do.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self.kind, TableKind::Table | TableKind::Partitioned)
    }

    /// The keys in the host's form.
    pub(crate) fn api_keys(&self) -> Vec<Key> {
        self.keys.iter().map(|key| key.key.clone()).filter(|key| !key.columns.is_empty()).collect()
    }
}

/// Refuses a name that the server would cut to that of another table.
fn check_length(session: &Session, name: &TableName) -> Result<()> {
    let limit = session.server().identifier_bytes;
    for part in name.schema.iter().chain([&name.table]) {
        if part.len() > limit {
            let message = format!("the name `{part}` is longer than {limit} bytes");
            return Err(Error::options(message)
                .at(format!("table `{name}`"))
                .hint("the server would cut it to the name of another table"));
        }
    }
    Ok(())
}

/// All that is asked about a table of the name `$1`, in the order in which [`find_table`] takes it.
const FIND_TABLE: &str = "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, \
                 greatest(c.reltuples, 0)::float8, \
                 CASE WHEN c.relkind IN ('r', 'm') THEN pg_catalog.pg_relation_size(c.oid) / \
                   pg_catalog.current_setting('block_size')::int8 ELSE 0 END::int8, \
                 pg_catalog.array_to_json(ARRAY( \
                   SELECT tgname::text FROM pg_catalog.pg_trigger \
                   WHERE tgrelid = c.oid AND NOT tgisinternal AND tgenabled IN ('O', 'A') \
                   ORDER BY 1))::text, \
                 pg_catalog.array_to_json(ARRAY( \
                   SELECT DISTINCT conrelid::regclass::text FROM pg_catalog.pg_constraint \
                   WHERE confrelid = c.oid AND contype = 'f' AND conrelid <> confrelid \
                   ORDER BY 1))::text, \
                 pg_catalog.array_to_json(ARRAY( \
                   SELECT DISTINCT tgname::text FROM pg_catalog.pg_trigger \
                   WHERE (tgrelid = c.oid OR c.relkind = 'p' AND tgrelid IN ( \
                       SELECT relid FROM pg_catalog.pg_partition_tree(c.oid))) \
                     AND NOT tgisinternal AND tgenabled IN ('O', 'A') \
                     AND tgtype & 3 = 3 AND tgtype & 20 <> 0 \
                   ORDER BY 1))::text, \
                 pg_catalog.array_to_json(ARRAY( \
                   SELECT inhrelid::regclass::text FROM pg_catalog.pg_inherits \
                   WHERE inhparent = c.oid AND c.relkind = 'r' ORDER BY 1))::text, \
                 pg_catalog.row_security_active(c.oid), \
                 pg_catalog.array_to_json(ARRAY( \
                   SELECT polname::text FROM pg_catalog.pg_policy \
                   WHERE polrelid = c.oid ORDER BY 1))::text, \
                 pg_catalog.has_table_privilege(c.oid, 'SELECT'), \
                 pg_catalog.has_table_privilege(c.oid, 'TRUNCATE'), \
                 pg_catalog.has_schema_privilege(n.oid, 'CREATE'), \
                 pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY'), \
                 pg_catalog.array_to_json(ARRAY( \
                   SELECT conname::text FROM pg_catalog.pg_constraint \
                   WHERE conrelid = c.oid AND contype = 'f' AND (confrelid = conrelid \
                     OR NOT pg_catalog.has_table_privilege(confrelid, 'SELECT') \
                     OR pg_catalog.row_security_active(confrelid)) ORDER BY 1))::text \
               FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.oid = pg_catalog.to_regclass($1)";

/// The table of this name, or `None`.
pub(crate) fn find_table(session: &mut Session, name: &TableName) -> Result<Option<Table>> {
    check_length(session, name)?;
    let doing = format!("look up table `{name}`");
    let rows = session.rows(&doing, FIND_TABLE, &[&quoted_table(name)])?;
    let Some(row) = rows.first() else { return Ok(None) };
    let oid: u32 = row.number(0)?;
    Ok(Some(Table {
        oid,
        name: TableName { schema: Some(row.text(1)?.to_owned()), table: row.text(2)?.to_owned() },
        kind: TableKind::of(row.text(3)?),
        columns: columns(session, oid)?,
        keys: keys(session, oid)?,
        rows: row.number::<f64>(4)? as u64,
        pages: row.number(5)?,
        triggers: row.list(6)?,
        referring: row.list(7)?,
        row_triggers: row.list(8)?,
        children: row.list(9)?,
        is_filtered: row.flag(10)?,
        policies: row.list(11)?,
        rights: TableRights {
            select: row.flag(12)?,
            truncate: row.flag(13)?,
            create: row.flag(14)?,
            temporary: row.flag(15)?,
        },
        references: row.list(16)?,
    }))
}

/// The tables in the schema of a table whose names begin with `prefix`. None if it is not there.
pub(crate) fn tables_beside(
    session: &mut Session,
    name: &TableName,
    prefix: &str,
) -> Result<Vec<TableName>> {
    let sql = "SELECT n.nspname::text, c.relname::text \
               FROM pg_catalog.pg_class t \
               JOIN pg_catalog.pg_class c ON c.relnamespace = t.relnamespace \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE t.oid = pg_catalog.to_regclass($1) AND c.relkind = 'r' \
                 AND pg_catalog.starts_with(c.relname::text, $2) ORDER BY 2";
    let rows = session.rows("look for stage tables", sql, &[&quoted_table(name), prefix])?;
    let name = |row: &TextRow| -> Result<TableName> {
        Ok(TableName { schema: Some(row.text(0)?.to_owned()), table: row.text(1)?.to_owned() })
    };
    rows.iter().map(name).collect()
}

/// The table of this name, which must be there.
pub(crate) fn table(session: &mut Session, name: &TableName) -> Result<Table> {
    find_table(session, name)?
        .ok_or_else(|| Error::not_found(format!("there is no table `{name}`")))
}

fn columns(session: &mut Session, oid: u32) -> Result<Vec<TableColumn>> {
    // A domain over a domain is followed to the type below; the modifier is of the last that
    // has one.
    let sql = format!(
        "SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), \
                 a.attnotnull, a.attidentity::text, a.attgenerated::text, a.atthasdef, b.oid, \
                 b.modifier, b.typtype::text, b.typcategory::text, b.typelem, \
                 CASE WHEN a.attgenerated = '' THEN pg_catalog.pg_get_serial_sequence( \
                   a.attrelid::regclass::text, a.attname) END, \
                 pg_catalog.format_type(b.oid, -1), \
                 pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT'), \
                 pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'INSERT'), \
                 pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'UPDATE'), {FORM_NAME} \
               FROM pg_catalog.pg_attribute a, LATERAL ( \
                 WITH RECURSIVE base AS ( \
                   SELECT t.oid, a.atttypmod AS modifier, t.typtype, t.typcategory, t.typelem, \
                     t.typbasetype, t.typtypmod \
                   FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid \
                   UNION ALL \
                   SELECT t.oid, base.typtypmod, t.typtype, t.typcategory, t.typelem, \
                     t.typbasetype, t.typtypmod \
                   FROM base JOIN pg_catalog.pg_type t ON t.oid = base.typbasetype \
                   WHERE base.typtype = 'd') \
                 SELECT * FROM base WHERE typtype <> 'd') b \
               WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    );
    let rows = session.rows("look up columns", &sql, &[&oid.to_string()])?;
    rows.iter().map(column).collect()
}

fn column(row: &TextRow) -> Result<TableColumn> {
    let facts = type_facts(row, 6)?;
    let kind = column_type(facts);
    let identity = match row.text(3)? {
        "a" => Identity::Always,
        "d" => Identity::ByDefault,
        _ => Identity::None,
    };
    let mut column = Column::new(row.text(0)?, kind.logical.clone(), !row.flag(2)?);
    row.text(1)?.clone_into(&mut column.native);
    column.native_form = native_form(facts, row.text(16)?);
    column.generated = !row.text(4)?.is_empty();
    column.has_default = !column.generated && (row.flag(5)? || identity != Identity::None);
    let item = match &kind.logical {
        LogicalType::List(item) => item,
        other => other,
    };
    let is_numeric = *item == LogicalType::Numeric;
    let bounds = numeric_bounds(facts.modifier).filter(|_| is_numeric);
    let sequence = row.optional(11).map(str::to_owned);
    let bare = row.text(12)?.to_owned();
    let rights =
        ColumnRights { select: row.flag(13)?, insert: row.flag(14)?, update: row.flag(15)? };
    Ok(TableColumn {
        column,
        kind,
        identity,
        sequence,
        bounds,
        bare,
        bends: types::bends(facts),
        reading_cast: types::reading_cast(facts),
        rule: types::text_rule(facts),
        rights,
    })
}

/// The facts of a type that begin at this column: oid, modifier, kind, category, element.
fn type_facts(row: &TextRow, at: usize) -> Result<TypeFacts> {
    let element = row.number(at + 4)?;
    let is_array = row.text(at + 3)? == "A" && element != 0;
    Ok(TypeFacts {
        oid: row.number(at)?,
        modifier: row.number(at + 1)?,
        is_enum: row.text(at + 2)? == "e",
        element: is_array.then_some(element),
    })
}

/// The names and facts of types with modifiers, in their order; domains are followed to the type
/// below.
pub(crate) fn types(
    session: &mut Session,
    types: &[(u32, i32)],
) -> Result<Vec<(TypeNames, TypeFacts)>> {
    let sql = format!(
        "SELECT (SELECT typname::text FROM pg_catalog.pg_type WHERE oid = u.oid), b.oid, \
                 b.modifier, b.typtype::text, b.typcategory::text, b.typelem, {FORM_NAME} \
               FROM unnest($1::oid[], $2::int4[]) WITH ORDINALITY AS u(oid, modifier, place), \
                 LATERAL ( \
                 WITH RECURSIVE base AS ( \
                   SELECT t.oid, u.modifier, t.typtype, t.typcategory, t.typelem, t.typbasetype \
                   FROM pg_catalog.pg_type t WHERE t.oid = u.oid \
                   UNION ALL \
                   SELECT t.oid, base.modifier, t.typtype, t.typcategory, t.typelem, \
                     t.typbasetype \
                   FROM base JOIN pg_catalog.pg_type t ON t.oid = base.typbasetype \
                   WHERE base.typtype = 'd') \
                 SELECT * FROM base WHERE typtype <> 'd') b \
               ORDER BY u.place"
    );
    let oids: Vec<_> = types.iter().map(|(oid, _)| oid.to_string()).collect();
    let modifiers: Vec<_> = types.iter().map(|(_, modifier)| modifier.to_string()).collect();
    let (oids, modifiers) = (oids.join(","), modifiers.join(","));
    let values = [format!("{{{oids}}}"), format!("{{{modifiers}}}")];
    let rows = session.rows("look up types", &sql, &[&values[0], &values[1]])?;
    let described = |row: &TextRow| {
        let names = TypeNames { native: row.text(0)?.to_owned(), form: row.text(6)?.to_owned() };
        Ok((names, type_facts(row, 1)?))
    };
    rows.iter().map(described).collect()
}

fn keys(session: &mut Session, oid: u32) -> Result<Vec<TableKey>> {
    // The column about NULLs is there from PostgreSQL 15 on.
    let sql = "SELECT c.relname::text, x.indisprimary, \
                 x.indisvalid AND x.indimmediate AND x.indpred IS NULL AND x.indexprs IS NULL, \
                 coalesce((to_jsonb(x) ->> 'indnullsnotdistinct')::boolean, false), \
                 pg_catalog.array_to_json(ARRAY(SELECT a.attname::text \
                   FROM unnest(x.indkey) WITH ORDINALITY AS k(number, place) \
                   JOIN pg_catalog.pg_attribute a \
                     ON a.attrelid = x.indrelid AND a.attnum = k.number \
                   WHERE k.place <= x.indnkeyatts ORDER BY k.place))::text \
               FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid \
               WHERE x.indrelid = $1 AND x.indisunique \
               ORDER BY x.indisprimary DESC, c.relname";
    let rows = session.rows("look up keys", sql, &[&oid.to_string()])?;
    let key = |row: &TextRow| {
        let key = Key {
            name: row.text(0)?.to_owned(),
            columns: row.list(4)?,
            primary: row.flag(1)?,
            unusable: !row.flag(2)?,
        };
        Ok(TableKey { key, nulls_distinct: !row.flag(3)? })
    };
    rows.iter().map(key).collect()
}

/// What this login may see, without the database's own tables.
pub(crate) fn tables(session: &mut Session) -> Result<Vec<TableInfo>> {
    let rows = session.rows("list tables", &listing("true", "ALL"), &[])?;
    rows.iter().map(|row| Ok(listed(row)?.1)).collect()
}

/// One page of what this login may see.
pub(crate) fn table_page(session: &mut Session, request: &TableRequest) -> Result<TablePage> {
    let patterns = request.parsed()?;
    let after = match &request.after {
        Some(after) => after.parse()?,
        None => TableName { schema: Some(String::new()), table: String::new() },
    };
    let sql = listing("(n.nspname, c.relname) > ($1::name, $2::name)", &request.max.to_string());
    let schema = after.schema.unwrap_or_default();
    let rows = session.rows("list tables", &sql, &[&schema, &after.table])?;
    let is_full = rows.len() == request.max as usize;
    let mut found = rows.iter().map(listed).collect::<Result<Vec<_>>>()?;
    let next = found.last().filter(|_| is_full).map(|(_, last)| last.name.clone());
    found.retain(|(_, table)| patterns.matches(table.schema.as_deref(), table.bare()));
    for (oid, table) in found.iter_mut().filter(|_| request.columns) {
        table.columns = columns(session, *oid)?.into_iter().map(|column| column.column).collect();
        table.keys = keys(session, *oid)?.into_iter().map(|key| key.key).collect();
    }
    Ok(TablePage { tables: found.into_iter().map(|(_, table)| table).collect(), next })
}

fn listing(condition: &str, most: &str) -> String {
    format!(
        "SELECT n.nspname::text, c.relname::text, c.relkind::text, c.reltuples::float8, c.oid, \
           CASE WHEN c.relkind IN ('r', 'm') THEN pg_catalog.pg_total_relation_size(c.oid) \
             WHEN c.relkind = 'p' THEN (SELECT sum(pg_catalog.pg_total_relation_size(relid)) \
               FROM pg_catalog.pg_partition_tree(c.oid))::int8 END::text, \
           pg_catalog.obj_description(c.oid, 'pg_class') \
         FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition \
           AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' \
           AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AND {condition} \
         ORDER BY n.nspname, c.relname LIMIT {most}"
    )
}

fn listed(row: &TextRow) -> Result<(u32, TableInfo)> {
    let (schema, table) = (row.text(0)?.to_owned(), row.text(1)?.to_owned());
    let name = TableName { schema: Some(schema.clone()), table: table.clone() }.to_string();
    let counted = row.number::<f64>(3)?;
    let info = TableInfo {
        rows: (counted >= 0.0).then_some(counted as u64),
        bytes: row.optional(5).and_then(|bytes| bytes.parse().ok()),
        comment: row.optional(6).map(str::to_owned),
        ..TableInfo::new(name, TableKind::of(row.text(2)?).word()).of(schema, table)
    };
    Ok((row.number(4)?, info))
}
