//! The tools whose documents are imported: how a document is read, which jobs are in it, and who
//! imports one of them.

use super::{
    cx::Cx,
    dataworks, datax,
    json::{self, SyntaxError},
    load, pgloader, sling,
    sling_store::Environment,
    tree::{Item, Node},
    yaml,
};

/// Whose documents are imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Datax,
    Dataworks,
    Sling,
    Pgloader,
}

/// One job of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// An entry of DataX's `content`.
    Entry(usize),
    /// A script of DataWorks.
    Script,
    /// A stream of Sling.
    Stream(String),
    /// A command of pgloader, for one table.
    Command(usize, String),
}

impl Part {
    /// What is added to the name of the document's file, where it has several jobs.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Entry(_) | Self::Script => "",
            Self::Stream(name) | Self::Command(_, name) => name,
        }
    }
}

impl Tool {
    /// Its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Datax => "DataX",
            Self::Dataworks => "DataWorks",
            Self::Sling => "Sling",
            Self::Pgloader => "pgloader",
        }
    }

    /// The word of the command.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Datax => "datax",
            Self::Dataworks => "dataworks",
            Self::Sling => "sling",
            Self::Pgloader => "pgloader",
        }
    }

    /// The extensions of its documents.
    pub(super) fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Datax | Self::Dataworks => &["json"],
            Self::Sling => &["yaml", "yml", "json"],
            Self::Pgloader => &["load"],
        }
    }

    /// What holds for each of its jobs.
    pub(super) fn always(self) -> &'static str {
        match self {
            Self::Datax | Self::Dataworks => ALWAYS,
            _ => "",
        }
    }

    pub(super) fn parse(self, text: &str) -> Result<Node, SyntaxError> {
        match self {
            Self::Datax | Self::Dataworks => json::parse(text),
            Self::Sling => yaml::parse(text),
            Self::Pgloader => load::parse(text),
        }
    }

    /// The jobs of a document; `None` if it is none of this tool.
    pub(super) fn parts(self, top: &Item<'_>, all_entries: bool) -> Option<Vec<Part>> {
        match self {
            Self::Datax => {
                let count = if all_entries { datax::entries(top).max(1) } else { 1 };
                datax::is_document(top).then(|| (0..count).map(Part::Entry).collect())
            }
            Self::Dataworks => dataworks::is_document(top).then(|| vec![Part::Script]),
            Self::Sling => {
                let streams = || sling::streams(top).into_iter().map(Part::Stream).collect();
                sling::is_document(top).then(streams)
            }
            Self::Pgloader => {
                let jobs = pgloader::jobs(top).into_iter();
                Some(jobs.map(|(index, table)| Part::Command(index, table)).collect())
            }
        }
    }

    /// Imports one job of a document.
    pub(super) fn import(
        self,
        cx: &mut Cx<'_>,
        top: &Item<'_>,
        part: &Part,
        environment: Option<&Environment>,
    ) {
        match part {
            Part::Entry(entry) => datax::import(cx, top, *entry),
            Part::Script => dataworks::import(cx, top),
            Part::Stream(name) => sling::import(cx, top, name, environment),
            Part::Command(index, table) => pgloader::import(cx, top, *index, table),
        }
    }

    /// Why a document is none of this tool, and what it may be.
    pub(super) fn no_document(self, top: &Item<'_>) -> (&'static str, Option<&'static str>) {
        let of_datax = "it is a document of DataX: transload import datax";
        let of_dataworks = "it is a script of DataWorks: transload import dataworks";
        let hint = match self {
            Self::Datax => dataworks::is_document(top).then_some(of_dataworks),
            Self::Dataworks => datax::is_document(top).then_some(of_datax),
            _ => None,
        };
        let message = match self {
            Self::Datax => "it is no document of DataX: it has no `job.content`",
            Self::Dataworks => "it is no script of DataWorks: it has no `steps`",
            Self::Sling => {
                "it is no replication of Sling: it has no `source`, `target` and `streams`"
            }
            Self::Pgloader => "it has no LOAD command",
        };
        (message, hint)
    }
}

/// What holds for every job of DataX and DataWorks.
const ALWAYS: &str = "
## Of every job

- Dirty rows were printed to the log, at most ten of each task. They are kept in files now, and can be repaired
  and sent again.
- A lost connection, a lock timeout or a full disk counted as dirty rows. Such errors are now tried again, or end
  the run.
- Times had milliseconds. They now keep all digits; a target with fewer is named by the plan.
- A run that failed began again with the first row. `transload resume` continues it.
";
