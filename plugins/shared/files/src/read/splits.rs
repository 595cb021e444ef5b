//! How a source is divided: pieces of files, cut at proven starts of records and dealt out in
//! their order, so that each row is in exactly one split.

use std::{collections::HashSet, io::Read};

use serde::{Deserialize, Serialize};
use transload_formats::{
    BoundaryFinder, BoundaryProof, Compression, CsvDialect, FileName, Format, LineEnd,
};
use transload_plugin_api::{Cancel, Error, Result, Split, SplitAbility, SplitRequest};

use super::{
    input::Input,
    source::{Source, in_file},
};
use crate::{Listing, StoredFile};

/// A file is not cut into smaller pieces than this.
const MIN_PIECE: u64 = 4 << 20;
/// A distant one is cut into more than [`FEW`] pieces only as long as they are of this size: each
/// piece costs requests, for its rows and for the proof of its start.
const MIN_DISTANT_PIECE: u64 = 32 << 20;
const FEW: u64 = 4;
/// Bytes before a wanted offset that are looked at first: the quotes of most files are in them, and
/// then nothing before can prove a start.
const TAIL: u64 = 256 << 10;
/// Bytes looked at at once in search of a boundary.
const BLOCK: usize = 1 << 20;

/// Consecutive rows of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) file: StoredFile,
    /// The first byte; Parquet: the first row group.
    pub(crate) from: u64,
    /// Behind the last one; none for the rest of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<u64>,
    /// The line of the first byte, counted from 1; 0 if unknown.
    pub(crate) line: u64,
    /// CSV: the file's header, for a piece that does not begin with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) header: Vec<String>,
    /// As stored.
    pub(crate) bytes: u64,
    /// Parquet: as its footer says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows: Option<u64>,
}

/// What a split's data says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SplitData {
    pub(crate) pieces: Vec<Piece>,
    /// The columns, or JSON keys, that the files have in the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) names: Vec<String>,
    /// The columns that folder names give.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) partitions: Vec<String>,
    /// CSV: how the files are read, if the job alone does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dialect: Option<CsvDialect>,
}

impl SplitData {
    /// From a split's data.
    pub(crate) fn parse(split: &Split) -> Result<Self> {
        serde_json::from_str(&split.data)
            .map_err(|error| Error::data("the split is not one of this plugin's").caused_by(&error))
    }
}

impl Piece {
    /// Whether it is known to be plain text: only that is cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.from > 0 || self.until.is_some()
    }

    fn whole(file: &StoredFile) -> Self {
        let (file, bytes) = (file.clone(), file.size);
        Self { file, from: 0, until: None, line: 1, header: Vec::new(), bytes, rows: None }
    }

    /// What the split is called; by whole names where files are called the same otherwise.
    fn label(&self, format: Format, whole_names: bool) -> String {
        let name = if whole_names { &self.file.name } else { self.file.short_name() };
        let unit = if format == Format::Parquet { "row groups" } else { "bytes" };
        match self.until {
            Some(until) => format!("{name} {unit} {}..{until}", self.from),
            None if self.from > 0 => format!("{name} {unit} {}..", self.from),
            None => name.to_owned(),
        }
    }
}

/// Divides the files into at most `request.max` splits. `names` are the columns of the files.
pub(crate) fn divide(
    source: &Source,
    listing: &Listing,
    request: &SplitRequest,
    names: Vec<String>,
    cancel: &Cancel,
) -> Result<Vec<Split>> {
    let files = &listing.files;
    let total: u64 = files.iter().map(|file| file.size).sum();
    let useful = useful_pieces(total, source.job.store.is_distant()).max(files.len() as u64);
    let count = u64::from(request.max).min(useful).max(1);
    let mut pieces = Vec::new();
    let mut offset = 0;
    for file in files {
        // Where the ideal ends of splits lie in this file.
        let cuts = (1..count).map(|number| ideal(number, count, total));
        let cuts = cuts.filter(|cut| *cut > offset && *cut < offset + file.size);
        let cuts = cuts.map(|cut| cut - offset).collect::<Vec<_>>();
        let cut = cut(source, file, cuts, cancel);
        pieces.extend(cut.map_err(|error| in_file(error, file.short_name()))?);
        offset += file.size;
    }
    let partitions = listing.partitions.clone();
    let dialect = sniffed_dialect(source, listing)?;
    let data = |pieces| {
        let (names, partitions, dialect) = (names.clone(), partitions.clone(), dialect.clone());
        SplitData { pieces, names, partitions, dialect }
    };
    let short: HashSet<_> = files.iter().map(StoredFile::short_name).collect();
    let whole_names = short.len() < files.len();
    let hands = deal(pieces, count).into_iter();
    hands.map(|hand| split(source, data(hand), whole_names)).collect()
}

/// The dialect of the files, unless the job alone says it.
fn sniffed_dialect(source: &Source, listing: &Listing) -> Result<Option<CsvDialect>> {
    let Some(file) = listing.files.first() else { return Ok(None) };
    let said = Source::of(&source.job, &file.name)?.dialect;
    Ok((source.dialect != said).then(|| source.dialect.clone()))
}

/// How many pieces of a file of this many bytes are worth their cost.
fn useful_pieces(bytes: u64, is_distant: bool) -> u64 {
    let pieces = bytes / MIN_PIECE;
    if is_distant { pieces.min(FEW.max(bytes / MIN_DISTANT_PIECE)) } else { pieces }
}

fn ideal(number: u64, count: u64, total: u64) -> u64 {
    (u128::from(total) * u128::from(number) / u128::from(count)) as u64
}

/// Cuts a file near the wanted offsets, if it can be cut at all.
fn cut(
    source: &Source,
    file: &StoredFile,
    wanted: Vec<u64>,
    cancel: &Cancel,
) -> Result<Vec<Piece>> {
    if source.format == Format::Parquet {
        return parquet_pieces(source, file, &wanted);
    }
    let mut pieces = vec![Piece::whole(file)];
    if wanted.is_empty() || source.format == Format::Json {
        return Ok(pieces);
    }
    let mut text = source.look(file)?;
    if !text.is_plain() {
        return Ok(pieces);
    }
    let (starts, header) = match source.format {
        Format::Csv => csv_starts(source, file, &mut text, wanted, cancel)?,
        _ => (line_starts(source, file, &wanted)?, Vec::new()),
    };
    for (from, line) in starts {
        if let Some(last) = pieces.last_mut().filter(|last| from > last.from && from < file.size) {
            last.until = Some(from);
            last.bytes = from - last.from;
            let (header, bytes) = (header.clone(), file.size - from);
            pieces.push(Piece { from, line, header, bytes, ..Piece::whole(file) });
        }
    }
    Ok(pieces)
}

/// Row groups, cut where the bytes before come near the wanted offsets. A file that need not be
/// cut is not opened.
fn parquet_pieces(source: &Source, file: &StoredFile, wanted: &[u64]) -> Result<Vec<Piece>> {
    if wanted.is_empty() {
        return Ok(vec![Piece::whole(file)]);
    }
    let opened = source.open_parquet(file)?;
    let mut wanted = wanted.iter().peekable();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut offset = 0;
    for (number, group) in opened.row_groups().iter().enumerate() {
        let middle = offset + group.bytes / 2;
        let mut cut = pieces.is_empty();
        while wanted.next_if(|wanted| **wanted < middle).is_some() {
            cut = true;
        }
        if cut {
            if let Some(last) = pieces.last_mut() {
                last.until = Some(number as u64);
            }
            let from = number as u64;
            pieces.push(Piece { from, bytes: 0, rows: Some(0), ..Piece::whole(file) });
        }
        if let Some(last) = pieces.last_mut() {
            last.bytes += group.bytes;
            last.rows = last.rows.map(|rows| rows + group.rows);
        }
        offset += group.bytes;
    }
    if pieces.is_empty() {
        pieces.push(Piece::whole(file));
    }
    Ok(pieces)
}

/// A start of a record and its line.
type Start = (u64, u64);

/// Starts of records behind the header, with their lines, and the header. Quotes are followed
/// from the start of the file, the only proof that a line end is not inside of them.
fn csv_starts(
    source: &Source,
    file: &StoredFile,
    text: &mut Input,
    wanted: Vec<u64>,
    cancel: &Cancel,
) -> Result<(Vec<Start>, Vec<String>)> {
    let head = source.read_head(text)?;
    if head.line_end != LineEnd::Lf {
        return Ok((Vec::new(), head.names));
    }
    if source.job.store.is_distant()
        && let Some(starts) = distant_starts(source, file, &wanted)?
    {
        let behind_head = starts.into_iter().filter(|(offset, _)| *offset > head.bytes);
        return Ok((behind_head.collect(), head.names));
    }
    let finder = BoundaryFinder::new(&source.dialect, wanted);
    let mut finder = finder.behind_head(head.bytes, head.line);
    let mut content = source.job.store.read(file, head.bytes..file.size)?;
    let mut block = vec![0; BLOCK];
    while !finder.is_done() {
        cancel.check()?;
        match content.read(&mut block)? {
            0 => break,
            read => finder.push(&block[..read]),
        }
    }
    let found = finder.finish().into_iter().map(|boundary| (boundary.offset, boundary.line));
    Ok((found.filter(|(offset, _)| *offset > head.bytes).collect(), head.names))
}

/// Starts of records near the wanted offsets, each proven by what stands before it alone; none if
/// one cannot be. Their lines are unknown.
fn distant_starts(
    source: &Source,
    file: &StoredFile,
    wanted: &[u64],
) -> Result<Option<Vec<Start>>> {
    let mut starts = Vec::new();
    for until in wanted {
        let Some(start) = distant_start(source, file, *until)? else { return Ok(None) };
        starts.push((start, 0));
    }
    Ok(Some(starts))
}

/// The last start of a record before an offset that the bytes before it prove.
fn distant_start(source: &Source, file: &StoredFile, until: u64) -> Result<Option<u64>> {
    let from = until.saturating_sub(BoundaryProof::window(&source.dialect));
    let middle = until.saturating_sub(TAIL).max(from);
    let tail = source.job.store.range(file, middle..until)?;
    let mut proof = BoundaryProof::new(&source.dialect);
    if !proof.is_possible(&tail) {
        return Ok(None);
    }
    let mut window = source.job.store.read(file, from..middle)?;
    let mut block = vec![0; BLOCK];
    loop {
        match window.read(&mut block)? {
            0 => break,
            read => proof.push(&block[..read]),
        }
    }
    proof.push(&tail);
    Ok(proof.finish().map(|start| from + start as u64))
}

/// Starts of lines; JSON has no raw line ends inside of strings. Their numbers are not counted,
/// which would take reading the whole file.
fn line_starts(source: &Source, file: &StoredFile, wanted: &[u64]) -> Result<Vec<Start>> {
    let starts = wanted.iter().map(|offset| line_start(source, file, *offset));
    let starts = starts.collect::<Result<Vec<_>>>()?;
    Ok(starts.into_iter().flatten().map(|start| (start, 0)).collect())
}

/// The first line that starts at or behind `offset`.
fn line_start(source: &Source, file: &StoredFile, offset: u64) -> Result<Option<u64>> {
    const STEP: u64 = 256 << 10;
    let mut place = offset.saturating_sub(1);
    while place < file.size {
        let until = file.size.min(place + STEP);
        let block = source.job.store.range(file, place..until)?;
        if let Some(end) = memchr::memchr(b'\n', &block) {
            return Ok(Some(place + end as u64 + 1));
        }
        place = until;
    }
    Ok(None)
}

/// Deals pieces out to splits in their order, each to the split in which its middle lies.
fn deal(pieces: Vec<Piece>, count: u64) -> Vec<Vec<Piece>> {
    let mut hands: Vec<Vec<Piece>> = vec![Vec::new(); count as usize];
    // Not the files' bytes: what is no row group of a small Parquet file outweighs its row groups.
    let total: u64 = pieces.iter().map(|piece| piece.bytes).sum();
    let mut offset = 0;
    let number = pieces.len() as u64;
    for (index, piece) in pieces.into_iter().enumerate() {
        let middle = u128::from(offset + piece.bytes / 2) * u128::from(count);
        let hand = match total {
            0 => index as u64 * count / number,
            _ => (middle / u128::from(total)) as u64,
        };
        offset += piece.bytes;
        hands[hand.min(count - 1) as usize].push(piece);
    }
    hands.retain(|hand| !hand.is_empty());
    hands
}

fn split(source: &Source, data: SplitData, whole_names: bool) -> Result<Split> {
    let packed = data.pieces.iter().any(|piece| is_packed(source, &piece.file));
    let streams = data.pieces.iter().any(|piece| piece.file.is_stream);
    let ability = match (streams, packed) {
        (true, _) => SplitAbility::Volatile,
        (false, true) => SplitAbility::Replayable,
        (false, false) => SplitAbility::Seekable,
    };
    let bytes = data.pieces.iter().map(|piece| piece.bytes).sum();
    let rows = data.pieces.iter().map(|piece| piece.rows).sum();
    let label = |piece: &Piece| piece.label(source.format, whole_names);
    let label = match data.pieces.as_slice() {
        [only] => label(only),
        [first, .., last] => {
            format!("{} to {}, {} files", label(first), label(last), data.pieces.len())
        }
        [] => String::new(),
    };
    let data =
        serde_json::to_string(&data).map_err(|error| Error::defect("split").caused_by(&error))?;
    let bytes = (!streams).then_some(bytes);
    let hint = streams.then(|| "keep what the stream holds in a file, and read that".to_owned());
    Ok(Split { rows, bytes, hint, ..Split::new(label, data, ability) })
}

/// Whether a file looks as if a place in it could only be found by reading all before. A look at
/// its first bytes would decide it, and cost a request for each object of a bucket.
fn is_packed(source: &Source, file: &StoredFile) -> bool {
    let options = &source.job.options;
    let named = FileName::of(&file.name).compression();
    let packed = options.compression.or(|| Ok(named)).is_ok_and(|found| found != Compression::None);
    source.format != Format::Parquet && (packed || !options.is_utf8())
}
