//! The reading of one split: piece after piece, block after block, batch after batch.

use serde::{Deserialize, Serialize};
use transload_plugin_api::{
    Cancel, Column, Error, ErrorKind, Origin, Position, ReadBatch, ReadTask, Result,
};

use super::{
    folders::Folders,
    input::Input,
    schema,
    source::{Source, in_file},
    splits::{Piece, SplitData},
};
use crate::{CsvDecoder, Decoded, Decoder, JsonDecoder, JsonShape};

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
    /// What the folders' names give.
    folders: Folders,
    /// The file, for messages, and from where lines are counted if not from its start.
    name: String,
}

/// Reads one split.
pub(crate) struct FilesTask {
    source: Source,
    columns: Vec<Column>,
    data: SplitData,
    cancel: Cancel,
    /// The piece that is open, or else the next one, and where to begin in it.
    next: Place,
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
            .map_err(|error| in_file(error, piece.file.short_name()))?;
        self.open = Some(open);
        Ok(())
    }

    fn open_piece(&self, piece: &Piece, resume: Option<Place>) -> Result<OpenPiece> {
        let (from, line) = resume.map_or((piece.from, piece.line), |at| (at.offset, at.line));
        let job = &self.source.job;
        let store = job.store.as_ref();
        let mut input = Input::open(store, &piece.file, &job.options, from, piece.until)?;
        let words = job.options.words();
        let folders =
            Folders::new(&self.columns, &self.data.partitions, &piece.file.partitions, &words)?;
        let records = match self.source.shape() {
            None => self.csv_records(piece, &mut input, &folders, from, line)?,
            Some(shape) => Some(self.json_records(shape, &folders, from, line)?),
        };
        let mut name = piece.file.short_name().to_owned();
        if line == 0 || (piece.line == 0 && resume.is_some()) {
            name = format!("{name} from byte {}", piece.from);
        }
        Ok(OpenPiece { input, records, folders, name })
    }

    fn csv_records(
        &self,
        piece: &Piece,
        input: &mut Input,
        folders: &Folders,
        from: u64,
        line: u64,
    ) -> Result<Option<Records>> {
        let (names, place) = if from == 0 {
            let head = self.source.read_head(input)?;
            (head.names, (head.bytes, head.line))
        } else if piece.header.is_empty() {
            let head = self.source.read_head(&mut self.source.open(&piece.file)?)?;
            (head.names, (from, line))
        } else {
            (piece.header.clone(), (from, line))
        };
        if names.is_empty() {
            return Ok(None);
        }
        schema::compare(&self.data.names, "the plan", &names, &piece.file)?;
        let words = self.source.job.options.words();
        let wanted = folders.of_files();
        let decoder = CsvDecoder::new(&self.source.dialect, &names, wanted, &words)?;
        Ok(Some(Records::Csv(Box::new(decoder.at(place.0, place.1)))))
    }

    fn json_records(
        &self,
        shape: JsonShape,
        folders: &Folders,
        from: u64,
        line: u64,
    ) -> Result<Records> {
        let options = &self.source.job.options;
        let keys = self.data.names.iter().map(String::as_str);
        let (words, unknown) = (options.words(), options.unknown_keys());
        let mut decoder = JsonDecoder::new(shape, folders.of_files(), &words, keys, unknown)?;
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
            batch: open.folders.complete(batch)?,
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

impl ReadTask for FilesTask {
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
