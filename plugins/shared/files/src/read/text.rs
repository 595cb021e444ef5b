//! The rows of one piece of a text file, block after block.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use transload_formats::{CsvDecoder, Decoder, JsonDecoder, JsonShape, Nested};
use transload_plugin_api::{Column, Error, Result};

use super::{
    input::Input,
    rows::{PieceBatch, PiecePosition, PieceRows},
    schema,
    source::Source,
    splits::Piece,
};

/// A decoder of either kind.
enum Records {
    Csv(Box<CsvDecoder>),
    Json(Box<JsonDecoder>),
}

impl Records {
    fn decoder(&mut self) -> &mut dyn Decoder {
        match self {
            Self::Csv(decoder) => decoder.as_mut(),
            Self::Json(decoder) => decoder.as_mut(),
        }
    }

    /// The line on which the next record begins.
    fn line(&self) -> u64 {
        match self {
            Self::Csv(decoder) => decoder.place().1,
            Self::Json(decoder) => decoder.line(),
        }
    }
}

/// Rows of CSV or JSON.
pub(crate) struct TextRows {
    input: Input,
    /// None for a file without any bytes, which has no header either.
    records: Option<Records>,
    left_out: Arc<Mutex<BTreeMap<String, u64>>>,
    counted: bool,
    /// CSV: the file's columns, if their order is not that of the plan.
    own_order: Vec<String>,
}

impl TextRows {
    /// The rows of a piece, from its start or from where an earlier reading came to. `names` are
    /// the columns, or JSON keys, that the plan knows.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] if the file is not the one that was planned.
    pub(crate) fn open(
        source: &Source,
        piece: &Piece,
        resume: Option<PiecePosition>,
        columns: &[Column],
        names: &[String],
    ) -> Result<Self> {
        let position = resume.unwrap_or(PiecePosition { offset: piece.from, line: piece.line });
        let mut input = open(source, piece, position.offset)?;
        let mut own_order = Vec::new();
        let records = match source.shape() {
            None => {
                let read = csv_records(source, piece, &mut input, position, columns, names)?;
                read.map(|(records, order)| {
                    own_order.extend(order.into_iter().flatten());
                    records
                })
            }
            Some(shape) => Some(json_records(source, shape, position, columns, names)?),
        };
        let left_out = Arc::clone(&source.job.left_out);
        let counted = position.line > 0 && (piece.line > 0 || resume.is_none());
        Ok(Self { input, records, left_out, counted, own_order })
    }

    /// Whether lines are counted from the file's start, and not from the piece's.
    pub(crate) fn counts_from_the_start(&self) -> bool {
        self.counted
    }
}

/// The text of a piece from an offset on.
fn open(source: &Source, piece: &Piece, offset: u64) -> Result<Input> {
    let (store, options) = (source.job.store.as_ref(), &source.job.options);
    let (file, until) = (&piece.file, piece.until);
    if offset == 0 {
        return Input::open(store, file, options, until);
    }
    Input::open_at(store, file, options, piece.is_cut(), offset, until)
}

/// The records of a file, and its columns if their order is not the planned one.
fn csv_records(
    source: &Source,
    piece: &Piece,
    input: &mut Input,
    mut position: PiecePosition,
    columns: &[Column],
    planned: &[String],
) -> Result<Option<(Records, Option<Vec<String>>)>> {
    let (names, dialect) = if position.offset == 0 {
        let head = source.read_head(input)?;
        position = PiecePosition { offset: head.bytes, line: head.line };
        (head.names.clone(), head.dialect(&source.dialect))
    } else if piece.header.is_empty() {
        let head = source.read_head(&mut source.look(&piece.file)?)?;
        (head.names.clone(), head.dialect(&source.dialect))
    } else {
        // A file with another kind of line end is not cut.
        (piece.header.clone(), source.dialect.clone())
    };
    if names.is_empty() {
        return Ok(None);
    }
    schema::compare(planned, "the plan", &names, &piece.file)?;
    let words = source.job.options.words();
    let decoder = CsvDecoder::new(&dialect, &names, columns, &words)?;
    let records = Records::Csv(Box::new(decoder.at(position.offset, position.line)));
    Ok(Some((records, (names != planned).then_some(names))))
}

fn json_records(
    source: &Source,
    shape: JsonShape,
    position: PiecePosition,
    columns: &[Column],
    planned: &[String],
) -> Result<Records> {
    let options = &source.job.options;
    let keys = planned.iter().map(String::as_str);
    let (words, unknown) = (options.words(), options.unknown_keys());
    let decoder = JsonDecoder::new(shape, columns, &words, keys, unknown)?;
    let mut decoder = decoder.max_record(options.max_record);
    if options.nesting(source.format).nested == Nested::Flatten {
        decoder = decoder.flatten();
    }
    if position.offset > 0 {
        decoder = decoder.after_a_record(position.line.max(1));
    }
    Ok(Records::Json(Box::new(decoder)))
}

impl PieceRows for TextRows {
    fn next(&mut self) -> Result<Option<PieceBatch>> {
        let Self { input, records: Some(records), .. } = self else { return Ok(None) };
        let decoder = records.decoder();
        loop {
            if !decoder.is_full() {
                let taken = decoder.decode(input.window(), input.at_end())?;
                input.take(taken);
            }
            if decoder.is_full() || input.at_end() {
                break;
            }
            input.fill()?;
        }
        let Some(mut decoded) = decoder.flush()? else {
            let left = input.window().len();
            if left == 0 {
                return Ok(None);
            }
            return Err(Error::defect(format!("{left} bytes were not decoded")));
        };
        if !self.own_order.is_empty() {
            decoded.dirty.iter_mut().for_each(|row| row.columns.clone_from(&self.own_order));
        }
        input.shrink();
        Ok(Some(PieceBatch {
            batch: decoded.batch,
            dirty: decoded.dirty,
            bytes: input.take_stored(),
            unit: "line",
            first: decoded.first_line,
            gaps: decoded.gaps,
            exact: decoded.exact,
        }))
    }

    fn position(&self) -> Option<PiecePosition> {
        if self.input.at_end() && self.input.window().is_empty() {
            return None;
        }
        let line = self.records.as_ref().map_or(0, Records::line);
        Some(PiecePosition { offset: self.input.offset(), line })
    }
}

/// What was left out is counted whether or not the piece was read to its end.
impl Drop for TextRows {
    fn drop(&mut self) {
        let Some(Records::Json(decoder)) = &self.records else { return };
        let mut left_out = self.left_out.lock();
        for (key, rows) in decoder.unknown_keys() {
            *left_out.entry(key).or_default() += rows;
        }
    }
}
