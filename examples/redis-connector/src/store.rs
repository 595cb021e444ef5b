//! What the keys mean. `PREFIX#columns` names the columns and their types, `PREFIX#run` the last run
//! that was committed, `PREFIX:KEY` is a row: a hash with a field for each value that is not NULL.
//! The texts of the key's values, `%` and `:` escaped, are joined by `:`, so no two keys are one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use transload_plugin_api::{
    Column, Error, ErrorKind, Finding, Host, LogicalType, Options, Result, TableInfo,
};

use crate::{
    resp::{Command, Connection, Reply, command, refusal},
    specs,
};

/// Keys that one SCAN looks at.
const SCANNED: &str = "5000";

/// What a connection must give, and what a job must: `connection test` has the first alone.
#[derive(Clone, serde::Deserialize)]
struct Given {
    host: String,
    port: u16,
    timeout: u64,
    prefix: Option<String>,
}

#[derive(Clone)]
pub(crate) struct Store {
    given: Given,
    /// `[reader.schema]` of the job.
    schema: Vec<Column>,
    pub(crate) host: Host,
    /// Keys that were listed, for the report.
    pub(crate) listed: Arc<AtomicU64>,
}

impl Store {
    pub(crate) fn new(options: &Options, host: Host) -> Result<Self> {
        let (given, schema) = (options.parse(&specs())?, options.schema.clone());
        Ok(Self { given, schema, host, listed: Arc::default() })
    }

    pub(crate) fn prefix(&self) -> Result<&str> {
        let missing = || Error::options("the option `prefix` is missing");
        self.given.prefix.as_deref().ok_or_else(missing)
    }

    /// A connection that is logged in.
    pub(crate) fn connect(&self) -> Result<Connection> {
        let Given { host, port, timeout, .. } = &self.given;
        let timeout = Duration::from_millis(*timeout);
        let mut connection = Connection::open(host, *port, timeout, self.host.cancel())?;
        if let Some(password) = self.host.secret("password")? {
            let login = connection.one(command(["AUTH", password.expose()]));
            // The server's words never repeat the password; its name is not needed either.
            login.map_err(|error| Error::denied("the server refuses the login").caused_by(&error))?;
        }
        connection.one(command(["PING"]))?;
        Ok(connection)
    }

    /// The columns: the job's own, else those that a writer has noted; `None` if there are neither.
    pub(crate) fn columns(&self, connection: &mut Connection) -> Result<Option<Vec<Column>>> {
        if !self.schema.is_empty() {
            return Ok(Some(self.schema.clone()));
        }
        let key = format!("{}#columns", self.prefix()?);
        let Reply::Text(text) = connection.one(command(["GET", &key]))? else { return Ok(None) };
        let noted: Vec<(String, String, bool)> = serde_json::from_slice(&text)
            .map_err(|error| Error::data(format!("`{key}` names no columns")).caused_by(&error))?;
        let column = |(name, logical, nullable): (String, String, bool)| {
            let logical: LogicalType =
                logical.parse().map_err(|error| Error::data("an unknown type").caused_by(&error))?;
            Ok(Column::new(name, logical, nullable))
        };
        noted.into_iter().map(column).collect::<Result<Vec<_>>>().map(Some)
    }

    /// All keys that match, sorted.
    pub(crate) fn keys(&self, connection: &mut Connection, pattern: &str) -> Result<Vec<Vec<u8>>> {
        let (mut keys, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let scan = ["SCAN", &cursor, "MATCH", pattern, "COUNT", SCANNED];
            let Reply::List(mut answer) = connection.one(command(scan))? else { break };
            if let Some(Reply::List(found)) = answer.pop() {
                keys.extend(found.into_iter().filter_map(text_of));
            }
            let next = answer.pop().and_then(text_of).unwrap_or_default();
            cursor = String::from_utf8_lossy(&next).into_owned();
            if cursor == "0" || cursor.is_empty() {
                break;
            }
        }
        // A SCAN may return a key twice.
        keys.sort_unstable();
        keys.dedup();
        self.listed.fetch_add(keys.len() as u64, Relaxed);
        Ok(keys)
    }

    /// The pattern of all rows.
    pub(crate) fn rows(&self) -> Result<String> {
        let escape = |letter: char| match letter {
            '*' | '?' | '[' | ']' | '\\' => format!("\\{letter}"),
            letter => letter.to_string(),
        };
        Ok(self.prefix()?.chars().map(escape).collect::<String>() + ":*")
    }

    /// Connection, and the columns if there is a job: a stage that fails is a finding, the last one.
    pub(crate) fn findings(&self) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let connected = self.connect();
        let columns = match connected {
            Ok(mut connection) => {
                findings.push(finding("connection", Ok("logged in".to_owned()))?);
                self.given.prefix.is_some().then(|| self.columns(&mut connection))
            }
            Err(error) => {
                findings.push(finding("connection", Err(error))?);
                None
            }
        };
        if let Some(columns) = columns {
            let told = |columns: Option<Vec<Column>>| match columns {
                Some(columns) => format!("{} columns", columns.len()),
                None => "warning: nothing was written under this prefix".to_owned(),
            };
            findings.push(finding("columns", columns.map(told))?);
        }
        Ok(findings)
    }

    /// The prefixes that a writer has used.
    pub(crate) fn prefixes(&self) -> Result<Vec<TableInfo>> {
        let mut connection = self.connect()?;
        let named = |key: Vec<u8>| {
            let name = String::from_utf8_lossy(&key).strip_suffix("#columns")?.to_owned();
            Some(TableInfo::new(name, "prefix"))
        };
        let keys = self.keys(&mut connection, "*#columns")?;
        Ok(keys.into_iter().filter_map(named).collect())
    }
}

fn finding(stage: &str, outcome: Result<String>) -> Result<Finding> {
    let (ok, detail) = match outcome {
        Ok(detail) => (true, detail),
        Err(error) if error.kind == ErrorKind::Cancelled => return Err(error),
        Err(error) => (false, error.to_string()),
    };
    Ok(Finding { stage: stage.to_owned(), ok, detail })
}

pub(crate) fn text_of(reply: Reply) -> Option<Vec<u8>> {
    match reply {
        Reply::Text(text) => Some(text),
        _ => None,
    }
}

/// The key of a row: the texts of its key columns, told apart.
pub(crate) fn row_key<'a>(prefix: &str, texts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut key = prefix.as_bytes().to_vec();
    for text in texts {
        key.push(b':');
        for byte in text {
            match byte {
                b'%' => key.extend(b"%25"),
                b':' => key.extend(b"%3A"),
                byte => key.push(*byte),
            }
        }
    }
    key
}

/// The replies of commands none of which may be refused.
pub(crate) fn accepted(connection: &mut Connection, commands: &[Command]) -> Result<Vec<Reply>> {
    let replies = connection.call(commands)?;
    let refused = replies.iter().find_map(|reply| match reply {
        Reply::Refused(reason) => Some(refusal(reason)),
        _ => None,
    });
    refused.map_or(Ok(replies), Err)
}
