//! The reading of one split: piece after piece, block after block, batch after batch.

use serde::{Deserialize, Serialize};
use transload_formats::{CsvDecoder, Decoded, Decoder, JsonDecoder, JsonShape};
use transload_plugin_api::{
    Cancel, Column, Error, ErrorKind, Origin, Position, ReadBatch, ReadTask, Result,
};

use crate::{
    input::Input,
    source::{Source, in_file},
    splits::{Piece, SplitData},
};

/// Where reading goes on: in which piece of the split, at which byte of the file's text, on which
/// line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    piece: usize,
    offset: u64,
    line: u64,
}

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

/// A piece that is being read.
struct OpenPiece {
    input: Input,
    /// None for a file without any bytes, which has no header either.
    records: Option<Records>,
    /// The file, for messages, and from where lines are counted if not from its start.
    name: String,
}

/// Reads one split.
pub(crate) struct FileTask {
    source: Source,
    columns: Vec<Column>,
    data: SplitData,
    cancel: Cancel,
    /// The piece that is open, or else the next one, and where to begin in it.
    next: Place,
    open: Option<OpenPiece>,
}

impl FileTask {
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
            None => Place::default(),
            Some(Position(bytes)) => serde_json::from_slice(bytes).map_err(|error| {
                Error::new(ErrorKind::Data, "the position is not one of this plugin's")
                    .caused_by(&error)
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
            .open_piece(piece, (self.next.offset > 0).then_some(self.next))
            .map_err(|error| in_file(error, &piece.file.name()))?;
        self.open = Some(open);
        Ok(())
    }

    fn open_piece(&self, piece: &Piece, resume: Option<Place>) -> Result<OpenPiece> {
        let (from, line) = resume.map_or((piece.from, piece.line), |at| (at.offset, at.line));
        let coding = self.source.coding(&piece.file)?;
        let until = piece.until.or(coding.is_plain().then_some(piece.file.size));
        let mut input = Input::open(piece.file.open()?, coding, from, until)?;
        let records = match self.source.shape() {
            None => self.csv_records(piece, &mut input, from, line)?,
            Some(shape) => Some(self.json_records(shape, from, line)?),
        };
        let mut name = piece.file.name();
        if line == 0 || (piece.line == 0 && resume.is_some()) {
            name = format!("{name} from byte {}", piece.from);
        }
        Ok(OpenPiece { input, records, name })
    }

    fn csv_records(
        &self,
        piece: &Piece,
        input: &mut Input,
        from: u64,
        line: u64,
    ) -> Result<Option<Records>> {
        let head = match from {
            0 => self.source.read_head(input)?,
            _ => self.source.read_head(&mut self.source.open(&piece.file)?)?,
        };
        if head.names.is_empty() {
            return Ok(None);
        }
        let words = self.source.job.options.words();
        let decoder = CsvDecoder::new(&self.source.dialect, &head.names, &self.columns, &words)?;
        let (byte, line) = if from == 0 { (head.bytes, head.line) } else { (from, line) };
        Ok(Some(Records::Csv(Box::new(decoder.at(byte, line)))))
    }

    fn json_records(&self, shape: JsonShape, from: u64, line: u64) -> Result<Records> {
        let options = &self.source.job.options;
        let keys = self.data.keys.iter().map(String::as_str);
        let (words, unknown) = (options.words(), options.unknown_keys());
        let mut decoder = JsonDecoder::new(shape, &self.columns, &words, keys, unknown)?;
        if from > 0 {
            decoder = decoder.after_a_record(line.max(1));
        }
        Ok(Records::Json(Box::new(decoder)))
    }

    /// The next rows of the open piece.
    fn decode(open: &mut OpenPiece) -> Result<Option<Decoded>> {
        let OpenPiece { input, records: Some(records), .. } = open else { return Ok(None) };
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
        let decoded = decoder.flush()?;
        if decoded.is_none() && !input.window().is_empty() {
            let left = input.window().len();
            return Err(Error::new(ErrorKind::Defect, format!("{left} bytes were not decoded")));
        }
        Ok(decoded)
    }

    /// Where reading goes on behind what has been decoded.
    fn place(&self, open: &OpenPiece) -> Place {
        let piece = self.next.piece;
        if open.input.at_end() && open.input.window().is_empty() {
            return Place { piece: piece + 1, ..Place::default() };
        }
        let line = open.records.as_ref().map_or(0, Records::line);
        Place { piece, offset: open.input.offset(), line }
    }

    fn batch(&self, open: &mut OpenPiece, decoded: Decoded) -> Result<ReadBatch> {
        let Decoded { batch, mut dirty, first_line, exact } = decoded;
        for row in &mut dirty {
            let place = row.place.take().unwrap_or_default();
            row.place = Some(format!("{}, {place}", open.name));
        }
        let position = serde_json::to_vec(&self.place(open))
            .map_err(|error| Error::new(ErrorKind::Defect, "position").caused_by(&error))?;
        Ok(ReadBatch {
            batch,
            position: Position(position),
            origin: Some(Origin {
                source: open.name.clone(),
                unit: "line".to_owned(),
                first: first_line,
                exact,
            }),
            dirty,
            bytes: open.input.take_stored(),
        })
    }

    /// Tells the log which keys were left out.
    fn tell_unknown_keys(open: &OpenPiece) {
        const MOST: usize = 20;
        let Some(Records::Json(decoder)) = &open.records else { return };
        for (key, rows) in decoder.unknown_keys().into_iter().take(MOST) {
            tracing::warn!(
                file = open.name,
                key,
                rows,
                "key is not in the schema and was left out; a larger `sample_rows` would find it"
            );
        }
    }
}

impl ReadTask for FileTask {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        loop {
            self.cancel.check()?;
            let Some(mut open) = self.open.take() else { return Ok(None) };
            match Self::decode(&mut open).map_err(|error| in_file(error, &open.name))? {
                Some(decoded) => {
                    let batch = self.batch(&mut open, decoded)?;
                    self.open = Some(open);
                    return Ok(Some(batch));
                }
                None => {
                    Self::tell_unknown_keys(&open);
                    self.next = Place { piece: self.next.piece + 1, ..Place::default() };
                    self.open_next()?;
                }
            }
        }
    }
}
