//! What a job reads or writes: one table, several of one shape, or a query. The options are
//! declared and parsed here for all SQL plugins; several tables are read by `sharded`.

use std::sync::Arc;

use serde::Deserialize;
use transload_plugin_api::{Error, OptionKind, OptionSpec, Options, Reader, Result};

use crate::{
    TableName, pattern::expand, read_database::ReadDatabase, reader::TableReader,
    sharded::ShardedReader,
};

/// What one reader reads.
#[derive(Clone, Debug)]
pub struct Source {
    pub(crate) relation: Option<Relation>,
    /// The key of the job that names it: `table`, `tables[1]` or `query`.
    pub(crate) key: String,
    /// The job's own condition on a table's rows, as SQL.
    pub filter: Option<String>,
    /// The column by whose ranges the rows are divided.
    pub split_key: Option<String>,
    /// The job says that its query returns the same rows each time, so that it can be divided.
    pub is_stable: bool,
    /// It is one of several tables that are read as one.
    pub is_shard: bool,
}

/// A table or a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// A table or view.
    Table(TableName),
    /// The rows of a query.
    Query(String),
}

impl Source {
    /// What is read. A connection that is only tested names nothing.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] if nothing is named.
    pub fn relation(&self) -> Result<&Relation> {
        self.relation
            .as_ref()
            .ok_or_else(|| refuse("none of `table`, `tables` and `query` is given").hint(ONE_OF))
    }

    /// Whether the job names something to read.
    pub fn is_named(&self) -> bool {
        self.relation.is_some()
    }
}

/// All that a job asks one plugin to read.
#[derive(Clone, Debug)]
pub struct Sources {
    /// By the names under which the job knows them.
    tables: Vec<(String, Source)>,
    origin_column: Option<String>,
}

#[derive(Deserialize)]
struct RawSource {
    table: Option<String>,
    tables: Vec<String>,
    query: Option<String>,
    #[serde(rename = "where")]
    filter: Option<String>,
    split_key: Option<String>,
    origin_column: Option<String>,
}

const ONE_OF: &str = "give exactly one of `table`, `tables` and `query`";

impl Sources {
    /// Parses the options of [`source_specs`]. `resolve` completes a table's name, or refuses it.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] for invalid names, and options that exclude each other.
    pub fn parse(
        options: &Options,
        resolve: impl Fn(TableName) -> Result<TableName>,
    ) -> Result<Self> {
        let raw: RawSource = options.parse(&source_specs(""))?;
        let origin_column = raw.origin_column.clone();
        let source = |relation: Option<Relation>, key: &str, is_shard: bool| Source {
            relation,
            key: key.to_owned(),
            filter: raw.filter.clone(),
            split_key: raw.split_key.clone(),
            is_stable: false,
            is_shard,
        };
        let texts = match (&raw.table, raw.tables.is_empty(), &raw.query) {
            (Some(table), true, None) => vec![("table".to_owned(), table)],
            (None, false, None) => {
                let key = |(index, text)| (format!("tables[{index}]"), text);
                raw.tables.iter().enumerate().map(key).collect()
            }
            (None, true, Some(query)) => {
                for (key, given) in
                    [("where", raw.filter.is_some()), ("origin_column", origin_column.is_some())]
                {
                    if given {
                        return Err(with_table_only(key, "put it into the query"));
                    }
                }
                let query = source(Some(Relation::Query(query.clone())), "query", false);
                return Ok(Self { tables: vec![("query".to_owned(), query)], origin_column });
            }
            (None, true, None) => {
                return Ok(Self {
                    tables: vec![(String::new(), source(None, "table", false))],
                    origin_column,
                });
            }
            _ => {
                let message = "`table`, `tables` and `query` exclude each other";
                let given = if raw.query.is_some() { "query" } else { "tables" };
                return Err(refuse(message).of_key(given).hint(ONE_OF));
            }
        };
        let mut names: Vec<(String, TableName)> = Vec::new();
        for (key, text) in texts {
            for name in expand(text).map_err(|error| error.of_key(&key))? {
                if names.iter().any(|(_, other)| *other == name) {
                    return Err(refuse(&format!("table `{name}` is named twice")).of_key(key));
                }
                names.push((key.clone(), name));
            }
        }
        let is_shard = names.len() > 1;
        let one = |(key, name): (String, TableName)| {
            let written = name.to_string();
            let name = resolve(name).map_err(|error| error.of_key(&key))?;
            Ok((written, source(Some(Relation::Table(name)), &key, is_shard)))
        };
        let tables = names.into_iter().map(one).collect::<Result<_>>()?;
        Ok(Self { tables, origin_column })
    }

    /// For databases whose queries are always read as one split.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] if a query is to be divided.
    pub fn with_whole_queries(self) -> Result<Self> {
        let divided = |(_, source): &(String, Source)| {
            matches!(source.relation, Some(Relation::Query(_))) && source.split_key.is_some()
        };
        match self.tables.iter().any(divided) {
            true => Err(with_table_only("split_key", "a query is read as one split")),
            false => Ok(self),
        }
    }

    /// For databases that can divide a query: whether the job says that it is stable.
    #[must_use]
    pub fn with_stable_query(mut self, is_stable: bool) -> Self {
        self.tables.iter_mut().for_each(|(_, source)| source.is_stable = is_stable);
        self
    }

    /// Whether several tables are read as one.
    pub fn are_many(&self) -> bool {
        self.tables.len() > 1
    }

    #[cfg(test)]
    pub(crate) fn into_sources(self) -> Vec<Source> {
        self.tables.into_iter().map(|(_, source)| source).collect()
    }

    /// The reader of all of them, as one source.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] for a query of several statements, or of none.
    pub fn into_reader<D: ReadDatabase>(self, database: D) -> Result<Box<dyn Reader>> {
        let database = Arc::new(database);
        let one = |(name, source)| Ok((name, TableReader::new(&database, source)?));
        let mut readers: Vec<_> = self.tables.into_iter().map(one).collect::<Result<_>>()?;
        Ok(match (readers.len(), self.origin_column) {
            (1, None) => Box::new(readers.remove(0).1),
            (_, origin) => Box::new(ShardedReader::new(readers, origin)),
        })
    }
}

fn with_table_only(key: &str, hint: &str) -> Error {
    refuse(&format!("`{key}` goes with `table`, not with `query`")).of_key(key).hint(hint)
}

fn refuse(message: &str) -> Error {
    Error::options(message)
}

/// The options that say what is read. `split_key` says how the plugin divides by itself.
pub fn source_specs(split_key: &str) -> Vec<OptionSpec> {
    let text = |key: &str, doc: &str| OptionSpec::new(key, OptionKind::Text, doc);
    vec![
        text(
            "table",
            "The table or view to read, or several by a range of numbers (`orders_[0-15]`, \
             `orders_[00-15]`; quoted names are taken as they are); or give `tables` or `query`",
        ),
        OptionSpec::new(
            "tables",
            OptionKind::List,
            "Tables of the same columns and types, read as one; each may have ranges",
        ),
        text("query", "The SELECT to read; or give `table`").sql(),
        text("where", "A condition on each table's rows, as SQL").sql(),
        text(
            "split_key",
            &format!("The column by whose ranges each table is divided; {split_key}"),
        ),
        text("origin_column", "The name of an added column that says from which table a row is"),
    ]
}

/// The option that names a writer's table.
pub fn target_specs() -> Vec<OptionSpec> {
    vec![OptionSpec::new("table", OptionKind::Text, "The table to write").required()]
}

/// What a writer writes. A connection that is only tested names nothing.
#[derive(Clone, Debug)]
pub struct TargetTable(Option<TableName>);

#[derive(Deserialize)]
struct RawTarget {
    table: Option<String>,
}

impl TargetTable {
    /// Parses the option of [`target_specs`]. `resolve` completes the name, or refuses it.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] for an invalid name.
    pub fn parse(
        options: &Options,
        resolve: impl Fn(TableName) -> Result<TableName>,
    ) -> Result<Self> {
        let raw: RawTarget = options.parse(&target_specs())?;
        let named = raw.table.map(|table| resolve(table.parse()?));
        let named = named.transpose().map_err(|error| error.of_key("table"))?;
        Ok(Self(named))
    }

    /// The table, if the job names one.
    pub fn named(&self) -> Option<&TableName> {
        self.0.as_ref()
    }

    /// The table.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] if none is named.
    pub fn table(&self) -> Result<&TableName> {
        self.named().ok_or_else(|| {
            refuse("`table` is not given").of_key("table").hint("name the table to write")
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use transload_plugin_api::ErrorKind;

    fn parse(values: Value) -> Result<Sources> {
        let Value::Object(values) = values else { panic!("{values}") };
        let resolve = |mut name: TableName| {
            name.schema.get_or_insert_with(|| "own".to_owned());
            Ok(name)
        };
        Sources::parse(&Options { values, ..Options::default() }, resolve)
    }

    fn tables(values: Value) -> Vec<(String, String)> {
        let named = |(written, source): &(String, Source)| match source.relation().unwrap() {
            Relation::Table(name) => (written.clone(), name.to_string()),
            Relation::Query(query) => (written.clone(), query.clone()),
        };
        parse(values).unwrap().tables.iter().map(named).collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
    }

    #[test]
    fn one_table_several_or_a_query() {
        assert_eq!(tables(json!({"table": "t"})), pairs(&[("t", "own.t")]));
        assert_eq!(tables(json!({"query": "SELECT 1"})), pairs(&[("query", "SELECT 1")]));
        let both = pairs(&[("t0", "own.t0"), ("t1", "own.t1"), ("s.u", "s.u")]);
        assert_eq!(tables(json!({"tables": ["t[0-1]", "s.u"]})), both);
        let many = parse(json!({"table": "t[0-1]", "where": "a", "split_key": "k"})).unwrap();
        assert!(many.are_many() && many.tables.iter().all(|(_, source)| source.is_shard));
        assert_eq!(many.tables[1].1.filter.as_deref(), Some("a"));
        assert!(parse(json!({"query": "q", "split_key": "k"})).is_ok());
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        for (values, words) in [
            (json!({"table": "t", "query": "q"}), "exclude each other"),
            (json!({"table": "t", "tables": ["u"]}), "exclude each other"),
            (json!({"tables": ["u"], "query": "q"}), "exclude each other"),
            (json!({"query": "q", "where": "a"}), "`where` goes with `table`"),
            (json!({"query": "q", "origin_column": "a"}), "`origin_column` goes with `table`"),
            (json!({"tables": ["t[0-2]", "t1"]}), "table `t1` is named twice"),
            (json!({"tables": ["a.b.c"]}), "more than two parts"),
            (json!({"table": "t[2-1]"}), "runs backwards"),
        ] {
            let error = parse(values.clone()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options, "{values}");
            assert!(error.message.contains(words), "{error}");
        }
        let divided = parse(json!({"query": "q", "split_key": "k"})).unwrap();
        assert_eq!(divided.with_whole_queries().unwrap_err().kind, ErrorKind::Options);
    }

    #[test]
    fn a_connection_is_tested_without_a_table_and_nothing_else_is() {
        let nothing = parse(json!({})).unwrap();
        assert!(!nothing.tables[0].1.is_named());
        let error = nothing.tables[0].1.relation().unwrap_err();
        assert!(error.kind == ErrorKind::Options && error.hint.as_deref() == Some(ONE_OF));
        let target = TargetTable::parse(&Options::default(), Ok).unwrap();
        assert!(target.named().is_none());
        assert_eq!(target.table().unwrap_err().kind, ErrorKind::Options);
        let target = TargetTable::parse(&Options::from_pairs([("table", "a.b.c")]), Ok);
        assert_eq!(target.unwrap_err().key.as_deref(), Some("table"));
    }
}
