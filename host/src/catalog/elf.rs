//! Checks a library's ELF headers before it is loaded: the system's loader maps a damaged file
//! without an error, and the process dies when it touches the damaged part. Damage that the headers
//! do not show ends only the probe's child process.

use std::{
    fs::File,
    io::{self, Read, Seek},
};

use object::{
    Endianness, ReadCache, ReadRef,
    elf::{self, FileHeader64},
    read::elf::{FileHeader, ProgramHeader, SectionHeader, Sym},
};
use transload_plugin_api::{Error, Result, abi::ROOT_SYMBOL, code};

type Header = FileHeader64<Endianness>;

#[cfg(target_arch = "x86_64")]
const MACHINE: elf::Machine = elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: elf::Machine = elf::EM_AARCH64;

/// Checks that a file is an intact shared object for this machine that exports the root symbol.
///
/// # Errors
/// [`ErrorKind::Data`] for a damaged file (`PLUGIN-DAMAGED`), [`ErrorKind::Unsupported`] for one
/// that is something else (`PLUGIN-NOT-ONE`).
pub(super) fn ensure_plugin(mut file: &File) -> Result<()> {
    let lost = |error: io::Error| Error::from(error).with_code(code::PLUGIN_FILE);
    let size = file.metadata().map_err(lost)?.len();
    if size == 0 {
        return Err(not_one("the file is empty"));
    }
    let mut magic = [0; elf::ELFMAG.len()];
    if size >= magic.len() as u64 {
        file.rewind().and_then(|()| file.read_exact(&mut magic)).map_err(lost)?;
    }
    if magic != elf::ELFMAG {
        return Err(not_one("not a shared library (no ELF header)"));
    }
    // Reads only the parts that are checked: after one allocation of a library's size the allocator
    // would keep freed memory for the whole run.
    let file = &ReadCache::new(file);
    let header = Header::parse(file).map_err(|error| damaged(&format!("its header: {error}")))?;
    let endian = header.endian().map_err(|error| damaged(&error.to_string()))?;
    if endian != Endianness::default() || header.e_machine(endian) != MACHINE {
        return Err(not_one("built for another kind of machine"));
    }
    if header.e_type(endian) != elf::ET_DYN {
        return Err(not_one("an ELF file, but not a shared library"));
    }
    ensure_segments(header, endian, file, size)?;
    ensure_sections(header, endian, file, size)?;
    if exports_root(header, endian, file).map_err(|error| damaged(&error.to_string()))? {
        return Ok(());
    }
    Err(not_one("a shared library, but it exports no plugin"))
}

/// The machine that a shared library was built for.
///
/// # Errors
/// `PLUGIN-NOT-ONE` for a file that is no such library, or for a machine without a name here.
pub(super) fn machine(file: &File) -> Result<&'static str> {
    let file = &ReadCache::new(file);
    let no_library = || not_one("not a shared library");
    let header = Header::parse(file).map_err(|_| no_library())?;
    let endian = header.endian().map_err(|_| no_library())?;
    match (header.e_type(endian), header.e_machine(endian)) {
        (elf::ET_DYN, elf::EM_X86_64) => Ok("x86_64"),
        (elf::ET_DYN, elf::EM_AARCH64) => Ok("aarch64"),
        (elf::ET_DYN, _) => Err(not_one("built for a machine that has no name here")),
        _ => Err(no_library()),
    }
}

/// Whether an error of [`ensure_plugin`] means that the file is intact but not a plugin.
pub(super) fn is_something_else(error: &Error) -> bool {
    error.code == code::PLUGIN_NOT_ONE
}

/// Every segment lies within the file: the loader maps segments without checking.
fn ensure_segments<'data>(
    header: &Header,
    endian: Endianness,
    file: impl ReadRef<'data>,
    size: u64,
) -> Result<()> {
    let segments =
        header.program_headers(endian, file).map_err(|error| damaged(&error.to_string()))?;
    if !segments.iter().any(|segment| segment.p_type(endian) == elf::PT_DYNAMIC) {
        return Err(damaged("it has no dynamic segment"));
    }
    for segment in segments {
        ensure_within("a segment", segment.file_range(endian), size)?;
    }
    Ok(())
}

/// Every section lies within the file: a file that was cut off ends before its sections.
fn ensure_sections<'data>(
    header: &Header,
    endian: Endianness,
    file: impl ReadRef<'data>,
    size: u64,
) -> Result<()> {
    let sections =
        header.section_headers(endian, file).map_err(|error| damaged(&error.to_string()))?;
    for section in sections {
        if let Some(range) = section.file_range(endian) {
            ensure_within("a section", range, size)?;
        }
    }
    Ok(())
}

fn ensure_within(what: &str, (offset, size): (u64, u64), whole: u64) -> Result<()> {
    let end = offset.checked_add(size);
    if end.is_some_and(|end| end <= whole) {
        return Ok(());
    }
    Err(damaged(&format!("{what} of {size} bytes at {offset} is not within its {whole} bytes")))
}

/// Whether the root symbol is among the defined dynamic symbols.
fn exports_root<'data>(
    header: &Header,
    endian: Endianness,
    file: impl ReadRef<'data>,
) -> Result<bool, object::read::Error> {
    let symbols = header.sections(endian, file)?.symbols(endian, file, elf::SHT_DYNSYM)?;
    for symbol in symbols.iter().filter(|symbol| symbol.st_shndx(endian) != elf::SHN_UNDEF) {
        if symbol.name(endian, symbols.strings())? == ROOT_SYMBOL.as_bytes() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn not_one(message: &str) -> Error {
    Error::unsupported(message).with_code(code::PLUGIN_NOT_ONE)
}

fn damaged(message: &str) -> Error {
    Error::data(format!("the file is damaged: {message}"))
        .with_code(code::PLUGIN_DAMAGED)
        .hint("copy or build it again; replace plugin files by rename, never in place")
}
