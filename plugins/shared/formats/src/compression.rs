//! Compressed streams, detected by their first bytes and never by the file's name. All members and
//! frames of a stream are read. A stream that ends early is an error, never an early end of the
//! data.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bzip2::{bufread::MultiBzDecoder, write::BzEncoder};
use flate2::{bufread::GzDecoder, write::GzEncoder};
use lz4_flex::frame::{FrameDecoder, FrameEncoder, FrameInfo};
use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, Result, code};

/// The largest window a zstd frame may require, as a power of two: 128 MiB.
const WINDOW_LOG: u32 = 27;
/// Where the job sets no limit, the first 256 MiB out of a stream are not checked: text passes
/// through constant memory, and a small file of short, repeated rows is honest at any ratio.
const UNSUSPICIOUS: u64 = 256 << 20;
/// After that, a stream that expands more than this is considered a decompression bomb. Rows with
/// a number or a date of their own stay far below it; no gzip stream exceeds about 1,030.
const RATIO: u64 = 200;

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// As bzip2 1.0 writes it.
    Bzip2,
    /// The LZ4 frame format, version 1.6.
    Lz4,
    /// The Snappy framing format.
    Snappy,
}

/// The extensions that say how a file is compressed, in lower case.
pub const COMPRESSIONS: [&str; 8] = ["gz", "gzip", "zst", "zstd", "bz2", "lz4", "sz", "snappy"];

impl Compression {
    /// The maximum number of bytes that [`Compression::detect`] reads.
    pub const HEAD: usize = 10;

    /// Detects a compression from the first [`Compression::HEAD`] bytes of a file, or from all
    /// bytes of a shorter one.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Unsupported`] for xz, zip and LZ4's old format, by name.
    pub fn detect(head: &[u8]) -> Result<Self> {
        let refused = match head {
            [0x1F, 0x8B, ..] => return Ok(Self::Gzip),
            // a frame, or a skippable one
            [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => {
                return Ok(Self::Zstd);
            }
            [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => "xz",
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => "zip",
            [0x02, 0x21, 0x4C, 0x18, ..] => "legacy lz4",
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', b'&', b'S', b'Y', ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => {
                return Ok(Self::Bzip2);
            }
            [0x04, 0x22, 0x4D, 0x18, ..] => return Ok(Self::Lz4),
            [0xFF, 0x06, 0, 0, b's', b'N', b'a', b'P', b'p', b'Y', ..] => return Ok(Self::Snappy),
            _ => return Ok(Self::None),
        };
        Err(Error::unsupported(format!("`{refused}` files cannot be read"))
            .with_code(code::FORMAT_COMPRESSION)
            .hint("decompress the file first, or compress it with gzip or zstd"))
    }

    /// The compression for a file extension in lower case.
    pub fn of_extension(extension: &str) -> Option<Self> {
        if !COMPRESSIONS.contains(&extension) {
            return None;
        }
        match extension {
            "gz" | "gzip" => Some(Self::Gzip),
            "zst" | "zstd" => Some(Self::Zstd),
            "bz2" => Some(Self::Bzip2),
            "lz4" => Some(Self::Lz4),
            "sz" | "snappy" => Some(Self::Snappy),
            _ => None,
        }
    }

    /// The extension of new files, including the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
            Self::Bzip2 => ".bz2",
            Self::Lz4 => ".lz4",
            Self::Snappy => ".sz",
        }
    }

    /// The word in job files.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
        }
    }

    /// Decompresses a stream. `inner` begins with the bytes that `detect` was given.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Other`] if no decompressor can be created.
    pub fn reader<'r>(self, inner: impl Read + Send + 'r) -> Result<Box<dyn Read + Send + 'r>> {
        self.reader_up_to(None, inner)
    }

    /// As [`Compression::reader`], for a stream that may become `most` bytes; without that, for
    /// one that does not expand suspiciously.
    ///
    /// # Errors
    /// As [`Compression::reader`].
    pub fn reader_up_to<'r>(
        self,
        most: Option<u64>,
        inner: impl Read + Send + 'r,
    ) -> Result<Box<dyn Read + Send + 'r>> {
        let (inner, taken) = Counted::new(inner);
        let inner = BufReader::with_capacity(128 << 10, inner);
        let guard = Guard { taken, given: 0, most };
        Ok(match self {
            Self::None => Box::new(inner),
            Self::Gzip => guard.watch(GzipMembers::new(inner)),
            Self::Zstd => {
                let mut inner = zstd::stream::read::Decoder::with_buffer(inner)?;
                inner.window_log_max(WINDOW_LOG)?;
                guard.watch(inner)
            }
            Self::Bzip2 => guard.watch(MultiBzDecoder::new(inner)),
            Self::Lz4 => guard.watch(Lz4Frames::new(inner)),
            Self::Snappy => guard.watch(snap::read::FrameDecoder::new(inner)),
        })
    }

    /// Compresses what is written, at the format's default level.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Other`] if no compressor can be created.
    pub fn writer<W: Write>(self, inner: W) -> Result<CompressedWriter<W>> {
        Ok(CompressedWriter(match self {
            Self::None => Kind::None(inner),
            Self::Gzip => Kind::Gzip(GzEncoder::new(inner, flate2::Compression::default())),
            Self::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(inner, 0)?;
                encoder.include_checksum(true)?;
                Kind::Zstd(encoder)
            }
            Self::Bzip2 => Kind::Bzip2(BzEncoder::new(inner, bzip2::Compression::default())),
            Self::Lz4 => {
                let info = FrameInfo::new().content_checksum(true).block_checksums(true);
                Kind::Lz4(Box::new(FrameEncoder::with_frame_info(info, inner)))
            }
            Self::Snappy => Kind::Snappy(Box::new(snap::write::FrameEncoder::new(inner))),
        }))
    }
}

/// Compresses what is written to it. The output is complete only after
/// [`CompressedWriter::finish`].
pub struct CompressedWriter<W: Write>(Kind<W>);

enum Kind<W: Write> {
    None(W),
    Gzip(GzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
    Bzip2(BzEncoder<W>),
    Lz4(Box<FrameEncoder<W>>),
    Snappy(Box<snap::write::FrameEncoder<W>>),
}

impl<W: Write> CompressedWriter<W> {
    /// Writes buffered data and the end of the stream, and returns the inner writer.
    ///
    /// # Errors
    /// Those of the inner writer.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Kind::None(inner) => Ok(inner),
            Kind::Gzip(encoder) => encoder.finish(),
            Kind::Zstd(encoder) => encoder.finish(),
            Kind::Bzip2(encoder) => encoder.finish(),
            Kind::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
            Kind::Snappy(encoder) => encoder.into_inner().map_err(|error| error.into_error()),
        }
    }
}

impl<W: Write> Write for CompressedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::None(inner) => inner.write(bytes),
            Kind::Gzip(encoder) => encoder.write(bytes),
            Kind::Zstd(encoder) => encoder.write(bytes),
            Kind::Bzip2(encoder) => encoder.write(bytes),
            Kind::Lz4(encoder) => encoder.write(bytes),
            Kind::Snappy(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::None(inner) => inner.flush(),
            Kind::Gzip(encoder) => encoder.flush(),
            Kind::Zstd(encoder) => encoder.flush(),
            Kind::Bzip2(encoder) => encoder.flush(),
            Kind::Lz4(encoder) => encoder.flush(),
            Kind::Snappy(encoder) => encoder.flush(),
        }
    }
}

/// Counts the bytes read. The counter is shared with the guard, because a decompressor does not
/// give access to its inner reader.
struct Counted<R> {
    inner: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Counted<R> {
    fn new(inner: R) -> (Self, Arc<AtomicU64>) {
        let taken = Arc::new(AtomicU64::new(0));
        (Self { inner, taken: taken.clone() }, taken)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        // relaxed: both sides run on the reading thread
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// All frames of an LZ4 stream. The decoder reports the end of a frame and an early end of its
/// input in the same way; they differ in whether the input's end was reached.
struct Lz4Frames<R: Read>(FrameDecoder<EndWatch<R>>);

impl<R: BufRead> Lz4Frames<R> {
    fn new(inner: R) -> Self {
        Self(FrameDecoder::new(EndWatch { inner, at_end: false }))
    }
}

impl<R: BufRead> Read for Lz4Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.0.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let input = self.0.get_mut();
            if input.at_end {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if input.inner.fill_buf()?.is_empty() {
                return Ok(0);
            }
        }
    }
}

/// Records whether its end has been reached.
struct EndWatch<R> {
    inner: R,
    at_end: bool,
}

impl<R: Read> Read for EndWatch<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.at_end |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

/// All members of a gzip stream. Zeros after the last one are padding, as tapes and block devices
/// leave it.
struct GzipMembers<R> {
    /// `None` behind the last member.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> GzipMembers<R> {
    fn new(inner: R) -> Self {
        Self { member: Some(GzDecoder::new(inner)) }
    }

    /// Goes to the next member, if there is one.
    fn next(&mut self) -> io::Result<()> {
        let Some(member) = self.member.take() else { return Ok(()) };
        let mut inner = member.into_inner();
        let mut padded = false;
        loop {
            let bytes = inner.fill_buf()?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            let (length, end) = (bytes.len(), bytes.is_empty());
            inner.consume(zeros);
            padded |= zeros > 0;
            if end {
                return Ok(());
            }
            if zeros < length {
                break;
            }
        }
        if padded {
            let text = "there are bytes after the padding of the last gzip member";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        self.member = Some(GzDecoder::new(inner));
        Ok(())
    }
}

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.next()?;
        }
        Ok(0)
    }
}

/// Stops a decompression bomb.
struct Guard {
    /// Compressed bytes taken, and bytes given.
    taken: Arc<AtomicU64>,
    given: u64,
    most: Option<u64>,
}

impl Guard {
    fn watch<'r>(self, inner: impl Read + Send + 'r) -> Box<dyn Read + Send + 'r> {
        Box::new(Guarded { inner, guard: self })
    }

    fn check(&self) -> io::Result<()> {
        let (taken, given) = (self.taken.load(Ordering::Relaxed), self.given);
        let text = match self.most {
            Some(most) if given > most => format!("it becomes more than {most} bytes"),
            None if given > UNSUSPICIOUS && given / RATIO > taken => format!(
                "{taken} compressed bytes expanded to {given}, more than {RATIO} times as many: if \
                 that is right, set `max_decompressed`"
            ),
            _ => return Ok(()),
        };
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }
}

struct Guarded<R> {
    inner: R,
    guard: Guard,
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.guard.given += count as u64;
        self.guard.check()?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    const ALL: [Compression; 5] = [
        Compression::Gzip,
        Compression::Zstd,
        Compression::Bzip2,
        Compression::Lz4,
        Compression::Snappy,
    ];

    fn compressed(kind: Compression, bytes: &[u8]) -> Vec<u8> {
        let mut writer = kind.writer(Vec::new()).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn read(kind: Compression, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        kind.reader(bytes).unwrap().read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn t57_all_members_are_read() {
        for kind in ALL {
            let parts: [&[u8]; 4] = [b"a,b\n", b"", b"1,2\n", b"3,4\n"];
            let whole: Vec<u8> = parts.iter().flat_map(|part| compressed(kind, part)).collect();
            assert_eq!(read(kind, &whole).unwrap(), parts.concat(), "{kind:?}");
        }
    }

    #[test]
    fn t57_a_stream_that_ends_early_is_an_error_at_every_length() {
        let text = "some text that is long enough to be compressed, text, text".repeat(3);
        for kind in ALL {
            let one = compressed(kind, text.as_bytes());
            let two = [one.as_slice(), one.as_slice()].concat();
            for length in 1..two.len() {
                // Snappy's frames have no end mark: a stream cut after its header is complete.
                let header = 10;
                let whole = length == one.len()
                    || kind == Compression::Snappy
                        && (length == header || length == one.len() + header);
                assert_eq!(read(kind, &two[..length]).is_ok(), whole, "{kind:?} {length}");
            }
        }
    }

    #[test]
    fn t57_a_compression_is_told_by_its_first_bytes() {
        for kind in ALL {
            for text in [&b"x"[..], b""] {
                let bytes = compressed(kind, text);
                let head = &bytes[..bytes.len().min(Compression::HEAD)];
                // Snappy writes no bytes for empty input.
                let expected = if head.is_empty() { Compression::None } else { kind };
                assert_eq!(Compression::detect(head).unwrap(), expected);
            }
            assert_eq!(
                Compression::of_extension(kind.extension().trim_start_matches('.')),
                Some(kind)
            );
        }
        for text in [&b""[..], b"a", b"a,b,c\n1,2,3\n", b"BZhang,1\n", b"PK,1", b"\xEF\xBB\xBFa,b"]
        {
            assert_eq!(Compression::detect(text).unwrap(), Compression::None);
        }
        for (bytes, name) in [
            (&b"\xFD7zXZ\0"[..], "xz"),
            (b"\x02\x21\x4C\x18", "legacy lz4"),
            (b"PK\x03\x04", "zip"),
            (b"PK\x05\x06", "zip"),
        ] {
            let error = Compression::detect(bytes).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unsupported);
            assert!(error.message.contains(name), "{error}");
        }
    }

    #[test]
    fn garbage_and_damage_are_errors() {
        for kind in ALL {
            assert!(read(kind, b"not compressed at all").is_err());
            let mut bytes = compressed(kind, &b"0123456789".repeat(100));
            let last = bytes.len() - 1;
            bytes[last - 4] ^= 1;
            assert!(read(kind, &bytes).is_err(), "{kind:?}: checksum");
        }
    }

    #[test]
    fn zeros_behind_the_last_gzip_member_are_padding() {
        let members =
            [compressed(Compression::Gzip, b"1,a\n"), compressed(Compression::Gzip, b"2")];
        let whole = members.concat();
        for zeros in [1, 2, 10, 512, 300_000] {
            let padded = [whole.as_slice(), &vec![0; zeros]].concat();
            assert_eq!(read(Compression::Gzip, &padded).unwrap(), b"1,a\n2", "{zeros}");
            let more = [padded.as_slice(), &whole].concat();
            assert!(read(Compression::Gzip, &more).is_err(), "{zeros}");
        }
        assert!(read(Compression::Gzip, &[&whole[..], b"x"].concat()).is_err());
    }

    /// How many bytes a stream of zeros gives, and why it ends early.
    fn expanded(kind: Compression, mebibytes: u64, most: Option<u64>) -> (u64, String) {
        let mut zeros = kind.writer(Vec::new()).unwrap();
        (0..mebibytes).for_each(|_| zeros.write_all(&[0; 1 << 20]).unwrap());
        let bytes = zeros.finish().unwrap();
        let mut reader = kind.reader_up_to(most, bytes.as_slice()).unwrap();
        let (mut block, mut given) = (vec![0; 1 << 20], 0);
        loop {
            match reader.read(&mut block) {
                Ok(0) => return (given, String::new()),
                Ok(count) => given += count as u64,
                Err(error) => return (given, error.to_string()),
            }
        }
    }

    #[test]
    fn a_bomb_is_stopped_with_figures() {
        for kind in [Compression::Zstd, Compression::Gzip] {
            let (given, error) = expanded(kind, 260, None);
            assert!(error.contains("times as many"), "{kind:?}: {error}");
            assert!(given <= UNSUSPICIOUS, "{kind:?}: {given}");
            let (given, error) = expanded(kind, 20, Some(5 << 20));
            assert_eq!(error, "it becomes more than 5242880 bytes");
            assert!(given <= 5 << 20, "{kind:?}: {given}");
        }
    }

    #[test]
    fn what_the_job_allows_is_read() {
        let most = Some(300 << 20);
        assert_eq!(expanded(Compression::Zstd, 260, most), (260 << 20, String::new()));
        // Short, repeated rows: a hundred times smaller, and honest.
        assert_eq!(expanded(Compression::Gzip, 100, None), (100 << 20, String::new()));
    }
}
