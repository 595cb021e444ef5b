//! The rows of some row groups of a Parquet file.

use transload_formats::{ParquetBatch, ParquetDecoder, ParquetFile, RowGroup};
use transload_plugin_api::{Column, Gap, Result};

use super::{
    rows::{PieceBatch, PiecePosition, PieceRows},
    schema,
    source::Source,
    splits::Piece,
};

/// Rows of Parquet.
pub(crate) struct GroupRows {
    file: ParquetFile,
    decoder: ParquetDecoder,
    /// Behind the rows that were read.
    position: PiecePosition,
    /// Behind the last row group.
    until: u64,
}

impl GroupRows {
    /// The rows of a piece, from its start or from where an earlier reading came to. `planned` are
    /// the columns that the plan knows.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Schema`] if the file has others, and those of [`ParquetFile::open`] and [`ParquetDecoder::new`].
    pub(crate) fn open(
        source: &Source,
        piece: &Piece,
        resume: Option<PiecePosition>,
        columns: &[Column],
        planned: &[String],
    ) -> Result<Self> {
        let file = source.open_parquet(&piece.file)?;
        let names = schema::names_of_parquet(&file);
        schema::compare(planned, "the plan", &names, &piece.file)?;
        let until = piece.until.unwrap_or(file.row_groups().len() as u64);
        let position = resume.unwrap_or(PiecePosition { offset: piece.from, line: 0 });
        let groups = position.offset as usize..until as usize;
        let decoder = ParquetDecoder::new(&file, groups, position.line, columns)?;
        let decoder = decoder.max_value(source.job.options.max_record);
        Ok(Self { file, decoder, position, until })
    }

    fn group(&self, number: u64) -> RowGroup {
        let groups = self.file.row_groups();
        groups.get(number as usize).copied().unwrap_or(RowGroup { rows: 0, bytes: 0, first_row: 0 })
    }
}

impl PieceRows for GroupRows {
    fn next(&mut self) -> Result<Option<PieceBatch>> {
        let Some(read) = self.decoder.next_batch()? else { return Ok(None) };
        let ParquetBatch { batch, rows, dirty, first_row, gaps, row_group, row_in_group_after } =
            read;
        let group = self.group(row_group as u64);
        // A row group's bytes are spread over its rows, so that those of a split add up.
        let share = |rows: u64| {
            (u128::from(group.bytes) * u128::from(rows) / u128::from(group.rows.max(1))) as u64
        };
        let before = row_in_group_after - rows;
        let bytes = share(row_in_group_after) - share(before);
        let done = row_in_group_after == group.rows;
        self.position = match done {
            true => PiecePosition { offset: row_group as u64 + 1, line: 0 },
            false => PiecePosition { offset: row_group as u64, line: row_in_group_after },
        };
        let first = first_row + 1;
        let gaps = gaps.into_iter().map(|gap| Gap { number: gap.number + 1, ..gap }).collect();
        Ok(Some(PieceBatch { batch, dirty, bytes, unit: "row", first, gaps, exact: true }))
    }

    fn position(&self) -> Option<PiecePosition> {
        (self.position.offset < self.until).then_some(self.position)
    }
}
