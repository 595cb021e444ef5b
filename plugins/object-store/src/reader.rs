//! The reading side's verbs: those of files in any store, and a check of the way to this one.

use std::sync::Arc;

use transload_files::FilesReader;
use transload_plugin_api::{
    Column, Count, Finding, Host, Options, Position, ReadTask, Reader, Result, SourceSchema, Split,
    SplitRequest, TableInfo, TablePage, TableRequest,
};

use crate::{access::Access, check, objects::Objects, options::ReaderOptions};

/// Reads objects.
pub(crate) struct ObjectReader {
    access: Arc<Access>,
    files: FilesReader,
    /// The job says which objects; a connection by itself does not.
    names_objects: bool,
}

impl ObjectReader {
    /// Looks at the options only.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] for what is wrong with them.
    pub(crate) fn new(options: &Options, host: &Host) -> Result<Self> {
        let access = Arc::new(Access::new(options, host)?);
        let own = ReaderOptions::parse(options)?;
        let names_objects = own.path.iter().any(|path| !path.is_empty());
        let objects = Objects::new(Arc::clone(&access), own);
        let files = FilesReader::new(Arc::new(objects), options, host)?;
        Ok(Self { access, files, names_objects })
    }
}

impl Reader for ObjectReader {
    fn check(&self) -> Result<Vec<Finding>> {
        let (mut found, reached) = check::reach(&self.access)?;
        if reached && self.names_objects {
            found.extend(self.files.check()?);
        }
        Ok(found)
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.files.discover()
    }

    fn tables(&self, request: &TableRequest) -> Result<TablePage> {
        self.files.tables(request)
    }

    fn schema(&self) -> Result<SourceSchema> {
        self.files.schema()
    }

    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
        self.files.produces(wanted)
    }

    fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>> {
        self.files.splits(request)
    }

    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>> {
        self.files.open(split, columns, after)
    }

    fn counts(&self) -> Result<Vec<Count>> {
        let mut counts = self.access.counts();
        counts.extend(self.files.counts()?);
        Ok(counts)
    }
}
