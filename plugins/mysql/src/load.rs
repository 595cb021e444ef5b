//! The loader of one task: LOAD DATA from memory where the server, the table and the plan allow
//! it, else INSERTs. The two are in `bulk` and `insert`.

use arrow_array::RecordBatch;
use transload_plugin_api::{
    Column, LoadMethod, LogicalType, NativeEncoding, Result, WriteMode, WritePlan, Written,
};
use transload_tables::{Dialect as _, TableName};

use crate::{
    bulk::{Bulk, Sent, load_statement},
    catalog::Table,
    connect::STORED_DATES,
    dialect::MysqlDialect,
    draft::still_takes,
    insert::Inserter,
    mark::{self, Mark, Marker},
    rows::RowEncoder,
    rule::Rule,
    session::Session,
};

/// Writes batches according to a plan.
pub(crate) struct Loader {
    encoder: RowEncoder,
    /// Set if LOAD DATA may be used.
    bulk: Option<Bulk>,
    inserter: Inserter,
    marker: Marker,
    /// When the session's server began to work.
    server: Option<i64>,
    /// Dates come as another server has stored them.
    has_stored_dates: bool,
}

impl Loader {
    /// A loader into `into`, which has `target`'s columns. `mark` is the stage's extra column and
    /// its value.
    pub(crate) fn new(
        plan: &WritePlan,
        target: &Table,
        into: &TableName,
        mark: Option<(&str, u32)>,
        session: &Session,
    ) -> Result<Self> {
        let rule = |column: &Column| still_takes(target, column).map(Rule::of);
        let rules: Vec<Rule> = plan.columns.iter().map(rule).collect::<Result<_>>()?;
        let mut table = String::new();
        MysqlDialect.table(into, &mut table);
        let mut names: Vec<_> = mark.iter().map(|(name, _)| *name).collect();
        names.extend(plan.columns.iter().map(|column| column.name.as_str()));
        let mut list = String::new();
        MysqlDialect.list(&names, &mut list);
        let bulk = matches!(plan.mode, WriteMode::Insert | WriteMode::Overwrite)
            && session.local_infile
            && target.is_transactional()
            && plan.load != LoadMethod::Insert;
        Ok(Self {
            bulk: bulk.then(|| Bulk::new(load_statement(&table, plan, &rules, mark))),
            inserter: Inserter::new(plan, target, &format!("{table} ({list})"), &session.server),
            marker: Marker::new(plan, target, into),
            server: None,
            has_stored_dates: plan.columns.iter().any(is_stored_date),
            encoder: RowEncoder::new(
                plan.columns.clone(),
                rules,
                mark.map(|(_, task)| task),
                session.packet,
            ),
        })
    }
}

/// Whether the column's values may be invalid dates.
fn is_stored_date(column: &Column) -> bool {
    match &column.logical {
        LogicalType::Native(form) => form.encoding == NativeEncoding::Text,
        _ => false,
    }
}

impl transload_tables::Loader<Session> for Loader {
    type Mark = Mark;

    fn prepare(&mut self, session: &mut Session) -> Result<()> {
        self.server = mark::server(session);
        if self.has_stored_dates {
            session.run("let stored dates in", STORED_DATES)?;
        }
        Ok(())
    }

    fn write(&mut self, session: &mut Session, batch: &RecordBatch) -> Result<Written> {
        let written = self.write_rows(session, batch)?;
        self.marker.note(batch, &written.dirty);
        Ok(written)
    }

    fn complete(&mut self, session: &mut Session) -> Result<()> {
        self.bulk.as_mut().map_or(Ok(()), |bulk| bulk.finish_chunk(session))
    }

    fn mark(&mut self, _session: &mut Session) -> Mark {
        let mut mark = self.marker.take();
        mark.server = self.server;
        mark
    }

    fn is_same_server(&self, mark: &Mark) -> bool {
        matches!((self.server, mark.server), (Some(one), Some(other)) if one.abs_diff(other) <= 1)
    }

    fn is_in(
        &mut self,
        session: &mut Session,
        mark: &Mark,
        _confirmed: bool,
    ) -> Result<Option<bool>> {
        self.marker.is_in(session, mark)
    }

    fn discard(&mut self, session: &mut Session) {
        self.marker.take();
        if let Some(bulk) = &mut self.bulk {
            bulk.give_up(session);
        }
    }
}

impl Loader {
    fn write_rows(&mut self, session: &mut Session, batch: &RecordBatch) -> Result<Written> {
        if let Some(bulk) = &mut self.bulk {
            let mut written = Written::default();
            match bulk.write(session, &mut self.encoder, batch, &mut written.dirty)? {
                Sent::Rows(rows) => {
                    written.inserted = rows;
                    return Ok(written);
                }
                Sent::Doubted => {}
                Sent::Forbidden => self.bulk = None,
            }
        }
        self.inserter.write(session, &mut self.encoder, batch)
    }
}
