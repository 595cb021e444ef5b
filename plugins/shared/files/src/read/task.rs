//! The reading of one split: piece after piece, batch after batch.

use serde::{Deserialize, Serialize};
use transload_formats::Format;
use transload_plugin_api::{Cancel, Column, Error, Origin, Position, ReadBatch, ReadTask, Result};

use super::{
    folders::Folders,
    groups::GroupRows,
    rows::{PieceBatch, PiecePosition, PieceRows},
    source::{Source, in_file},
    splits::{Piece, SplitData},
    text::TextRows,
};

/// Where reading continues: in which piece of the split, and where in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SplitPosition {
    piece: usize,
    #[serde(flatten)]
    position: Option<PiecePosition>,
}

/// A piece that is being read.
struct OpenPiece {
    rows: Box<dyn PieceRows>,
    /// What the folders' names give.
    folders: Folders,
    /// The file, for messages, and from where lines are counted if not from its start.
    /// The name in messages.
    name: String,
    /// The whole name, unless lines are counted from within the file.
    file: Option<String>,
}

/// Reads one split.
pub(crate) struct FilesTask {
    source: Source,
    columns: Vec<Column>,
    data: SplitData,
    cancel: Cancel,
    /// The piece that is open, or else the next one, and where to begin in it.
    next: SplitPosition,
    open: Option<OpenPiece>,
}

impl FilesTask {
    /// Opens the first piece, at its start or behind a position.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] if the file is not the one that was planned.
    pub(crate) fn new(
        source: Source,
        columns: &[Column],
        data: SplitData,
        after: Option<&Position>,
        cancel: &Cancel,
    ) -> Result<Self> {
        let next = match after {
            None => SplitPosition::default(),
            Some(Position(bytes)) => serde_json::from_slice(bytes).map_err(|error| {
                Error::data("the position is not one of this plugin's").caused_by(&error)
            })?,
        };
        let columns = columns.to_vec();
        let mut task = Self { source, columns, data, cancel: cancel.clone(), next, open: None };
        task.open_next()?;
        Ok(task)
    }

    /// Opens the next piece, if there is one.
    fn open_next(&mut self) -> Result<()> {
        let Some(piece) = self.data.pieces.get(self.next.piece) else { return Ok(()) };
        let open = self
            .open_piece(piece, self.next.position)
            .map_err(|error| in_file(error, piece.file.short_name()))?;
        self.open = Some(open);
        Ok(())
    }

    fn open_piece(&self, piece: &Piece, resume: Option<PiecePosition>) -> Result<OpenPiece> {
        let words = self.source.job.options.words();
        let partitions = &piece.file.partitions;
        let folders = Folders::new(&self.columns, &self.data.partitions, partitions, &words)?;
        let columns = folders.of_files();
        let mut name = piece.file.short_name().to_owned();
        let mut file = Some(piece.file.name.clone());
        let rows: Box<dyn PieceRows> = if self.source.format == Format::Parquet {
            Box::new(GroupRows::open(&self.source, piece, resume, columns, &self.data.names)?)
        } else {
            let rows = TextRows::open(&self.source, piece, resume, columns, &self.data.names)?;
            if !rows.counts_from_the_start() {
                name = format!("{name} from byte {}", piece.from);
                file = None;
            }
            Box::new(rows)
        };
        Ok(OpenPiece { rows, folders, name, file })
    }

    fn batch(&self, open: &OpenPiece, stretch: PieceBatch) -> Result<ReadBatch> {
        let PieceBatch { batch, mut dirty, bytes, unit, first, gaps, exact } = stretch;
        for row in &mut dirty {
            let place = row.place.take().unwrap_or_default();
            row.place = Some(format!("{}, {place}", open.name));
        }
        let piece = self.next.piece;
        let place = match open.rows.position() {
            None => SplitPosition { piece: piece + 1, position: None },
            position => SplitPosition { piece, position },
        };
        let position = serde_json::to_vec(&place)
            .map_err(|error| Error::defect("position").caused_by(&error))?;
        let (source, unit, file) = (open.name.clone(), unit.to_owned(), open.file.clone());
        Ok(ReadBatch {
            batch: open.folders.complete(batch)?,
            position: Position(position),
            origin: Some(Origin { source, unit, first, exact, gaps, file }),
            dirty,
            bytes,
        })
    }
}

impl ReadTask for FilesTask {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        loop {
            self.cancel.check()?;
            let Some(mut open) = self.open.take() else { return Ok(None) };
            match open.rows.next().map_err(|error| in_file(error, &open.name))? {
                Some(stretch) => {
                    let batch = self.batch(&open, stretch)?;
                    self.open = Some(open);
                    return Ok(Some(batch));
                }
                None => {
                    self.next = SplitPosition { piece: self.next.piece + 1, position: None };
                    self.open_next()?;
                }
            }
        }
    }
}
