//! How a source is divided: pieces of files, cut at proven starts of records and dealt out in
//! their order, so that each row is in exactly one split.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use serde::{Deserialize, Serialize};
use transload_formats::BoundaryFinder;
use transload_plugin_api::{Cancel, Error, ErrorKind, Result, Split, SplitAbility, SplitRequest};

use crate::{
    format::Format,
    listing::{SourceFile, at},
    source::{Source, in_file},
};

/// A file is not cut into smaller pieces than this.
const MIN_PIECE: u64 = 4 << 20;
/// Bytes looked at at once in search of a boundary.
const BLOCK: usize = 1 << 20;

/// Consecutive rows of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) file: SourceFile,
    /// The first byte.
    pub(crate) from: u64,
    /// Behind the last byte; none for the rest of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<u64>,
    /// The line of the first byte, counted from 1; 0 if unknown.
    pub(crate) line: u64,
}

/// What a split's data says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SplitData {
    pub(crate) pieces: Vec<Piece>,
    /// JSON: the keys of the schema.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) keys: Vec<String>,
}

impl SplitData {
    /// From a split's data.
    pub(crate) fn parse(split: &Split) -> Result<Self> {
        serde_json::from_str(&split.data).map_err(|error| {
            Error::new(ErrorKind::Data, "the split is not one of this plugin's").caused_by(&error)
        })
    }
}

impl Piece {
    fn bytes(&self) -> u64 {
        self.until.unwrap_or(self.file.size) - self.from
    }

    fn label(&self) -> String {
        let name = self.file.name();
        match self.until {
            Some(until) => format!("{name} bytes {}..{until}", self.from),
            None if self.from > 0 => format!("{name} bytes {}..", self.from),
            None => name,
        }
    }
}

/// Divides the files into at most `request.max` splits.
pub(crate) fn divide(
    source: &Source,
    files: &[SourceFile],
    request: &SplitRequest,
    keys: &[String],
    cancel: &Cancel,
) -> Result<Vec<Split>> {
    let total: u64 = files.iter().map(|file| file.size).sum();
    let useful = (total / MIN_PIECE).max(files.len() as u64);
    let count = u64::from(request.max).min(useful).max(1);
    let mut pieces = Vec::new();
    let mut offset = 0;
    for file in files {
        // Where the ideal ends of splits lie in this file.
        let cuts = (1..count).map(|number| ideal(number, count, total));
        let cuts = cuts.filter(|cut| *cut > offset && *cut < offset + file.size);
        let cuts = cuts.map(|cut| cut - offset).collect::<Vec<_>>();
        pieces
            .extend(cut(source, file, cuts, cancel).map_err(|error| in_file(error, &file.name()))?);
        offset += file.size;
    }
    deal(source, pieces, total, count, keys)
}

fn ideal(number: u64, count: u64, total: u64) -> u64 {
    (u128::from(total) * u128::from(number) / u128::from(count)) as u64
}

/// Cuts a file near the wanted offsets, if it can be cut at all.
fn cut(
    source: &Source,
    file: &SourceFile,
    wanted: Vec<u64>,
    cancel: &Cancel,
) -> Result<Vec<Piece>> {
    let whole = Piece { file: file.clone(), from: 0, until: None, line: 1 };
    if wanted.is_empty() || !source.coding(file)?.is_plain() {
        return Ok(vec![whole]);
    }
    let starts = match source.format {
        Format::Csv => csv_starts(source, file, wanted, cancel)?,
        Format::Jsonl => line_starts(file, &wanted)?,
        Format::Json => Vec::new(),
    };
    let mut pieces = vec![whole];
    for (from, line) in starts {
        if let Some(last) = pieces.last_mut().filter(|last| from > last.from && from < file.size) {
            last.until = Some(from);
            pieces.push(Piece { file: file.clone(), from, until: None, line });
        }
    }
    Ok(pieces)
}

/// Starts of records behind the header, with their lines. Quotes are followed from the start of
/// the file, the only proof that a line end is not inside of them.
fn csv_starts(
    source: &Source,
    file: &SourceFile,
    wanted: Vec<u64>,
    cancel: &Cancel,
) -> Result<Vec<(u64, u64)>> {
    let head = source.read_head(&mut source.open(file)?)?;
    let mut finder = BoundaryFinder::new(&source.dialect, wanted);
    let mut content = file.open()?;
    let mut block = vec![0; BLOCK];
    while !finder.is_done() {
        cancel.check()?;
        match content.read(&mut block).map_err(|error| at(error, &file.path))? {
            0 => break,
            read => finder.push(&block[..read]),
        }
    }
    let found = finder.finish().into_iter().map(|boundary| (boundary.offset, boundary.line));
    Ok(found.filter(|(offset, _)| *offset > head.bytes).collect())
}

/// Starts of lines; JSON has no raw line ends inside of strings. Their numbers are not counted,
/// which would take reading the whole file.
fn line_starts(file: &SourceFile, wanted: &[u64]) -> Result<Vec<(u64, u64)>> {
    let mut content = file.open()?;
    let mut starts = Vec::new();
    for offset in wanted {
        if let Some(start) = line_start(&mut content, *offset).map_err(|e| at(e, &file.path))? {
            starts.push((start, 0));
        }
    }
    Ok(starts)
}

/// The first line that starts at or behind `offset`.
fn line_start(content: &mut File, offset: u64) -> std::io::Result<Option<u64>> {
    let mut place = offset.saturating_sub(1);
    content.seek(SeekFrom::Start(place))?;
    let mut block = vec![0; 64 << 10];
    loop {
        let read = content.read(&mut block)?;
        if read == 0 {
            return Ok(None);
        }
        if let Some(end) = block[..read].iter().position(|byte| *byte == b'\n') {
            return Ok(Some(place + end as u64 + 1));
        }
        place += read as u64;
    }
}

/// Deals pieces out to splits in their order, each to the split in which its middle lies.
fn deal(
    source: &Source,
    pieces: Vec<Piece>,
    total: u64,
    count: u64,
    keys: &[String],
) -> Result<Vec<Split>> {
    let mut hands: Vec<Vec<Piece>> = vec![Vec::new(); count as usize];
    let mut offset = 0;
    let number = pieces.len() as u64;
    for (index, piece) in pieces.into_iter().enumerate() {
        let middle = u128::from(offset + piece.bytes() / 2) * u128::from(count);
        let hand = match total {
            0 => index as u64 * count / number,
            _ => (middle / u128::from(total)) as u64,
        };
        offset += piece.bytes();
        hands[hand.min(count - 1) as usize].push(piece);
    }
    hands
        .into_iter()
        .filter(|hand| !hand.is_empty())
        .map(|hand| split(source, hand, keys))
        .collect()
}

fn split(source: &Source, pieces: Vec<Piece>, keys: &[String]) -> Result<Split> {
    let mut ability = SplitAbility::Seekable;
    for piece in &pieces {
        if !source.coding(&piece.file)?.is_plain() {
            ability = SplitAbility::Replayable;
        }
    }
    let bytes = pieces.iter().map(Piece::bytes).sum();
    let label = match pieces.as_slice() {
        [only] => only.label(),
        [first, .., last] => {
            format!("{} to {}, {} files", first.label(), last.label(), pieces.len())
        }
        [] => String::new(),
    };
    let data =
        serde_json::to_string(&SplitData { pieces, keys: keys.to_vec() }).map_err(|error| {
            Error::new(ErrorKind::Unsupported, "a file name that is not UTF-8").caused_by(&error)
        })?;
    Ok(Split { label, data, ability, rows: None, bytes: Some(bytes) })
}
