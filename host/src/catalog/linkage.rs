//! What a packed library may ask of the system's loader: exactly the libraries that its manifest names,
//! found where the system finds them, and no memory that is both writable and executable. Read from
//! the segments, as the loader reads them.

use std::{collections::BTreeSet, fs::File};

use object::{
    Endianness, ReadCache, ReadRef,
    elf::{self, FileHeader64},
    read::elf::{Dyn, FileHeader, ProgramHeader},
};
use transload_plugin_api::{Error, Result, code};

type Header = FileHeader64<Endianness>;

/// What a library asks for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Linkage {
    /// The libraries that it needs.
    pub(super) needed: BTreeSet<String>,
    /// What a packed library may not have.
    pub(super) forbidden: Vec<&'static str>,
    is_musl: bool,
}

impl Linkage {
    /// Reads a library that `elf::ensure_plugin` has accepted.
    ///
    /// # Errors
    /// `PLUGIN-DAMAGED`.
    pub(super) fn of(file: &File) -> Result<Self> {
        read(file).ok_or_else(|| {
            Error::data("the file is damaged: its dynamic segment cannot be read")
                .with_code(code::PLUGIN_DAMAGED)
        })
    }

    /// Whether it was built for musl.
    pub(super) fn is_musl(&self) -> bool {
        self.is_musl
    }

    /// Refuses a library that needs others than its manifest says, or that weakens the process.
    ///
    /// # Errors
    /// `PLUGIN-NEEDED`, `PLUGIN-LINKED`.
    pub(super) fn ensure(&self, needed: &BTreeSet<String>) -> Result<()> {
        self.ensure_clean()?;
        let refuse = |message: String| {
            Err(Error::denied(message)
                .with_code(code::PLUGIN_NEEDED)
                .hint("report it to its vendor: `transload plugin pack` writes what is needed"))
        };
        if let Some(more) = self.needed.difference(needed).next() {
            return refuse(format!("it needs `{more}`, which its manifest does not list"));
        }
        match needed.difference(&self.needed).next() {
            Some(less) => refuse(format!("its manifest lists `{less}`, which it does not need")),
            None => Ok(()),
        }
    }

    /// Refuses a library that weakens the process.
    ///
    /// # Errors
    /// `PLUGIN-LINKED`.
    pub(super) fn ensure_clean(&self) -> Result<()> {
        if self.forbidden.is_empty() {
            return Ok(());
        }
        Err(Error::denied(format!("it has {}", self.forbidden.join(" and ")))
            .with_code(code::PLUGIN_LINKED)
            .hint("its vendor links it without: -Wl,-z,noexecstack, no -rpath, position-independent code"))
    }
}

fn read(file: &File) -> Option<Linkage> {
    let file = &ReadCache::new(file);
    let header = Header::parse(file).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, file).ok()?;
    let entries: Vec<_> =
        segments.iter().find_map(|segment| segment.dynamic(endian, file).ok().flatten())?.to_vec();
    let value =
        |tag| entries.iter().find(|entry| entry.tag(endian) == tag).map(|it| it.val(endian));
    let (strings, length) = (value(elf::DT_STRTAB)?, value(elf::DT_STRSZ)?);
    let loaded = segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
    let offset = loaded.clone().find_map(|segment| {
        let inside = strings.checked_sub(segment.p_vaddr(endian))?;
        (inside < segment.p_filesz(endian)).then(|| segment.p_offset(endian).checked_add(inside))?
    })?;
    let strings = file.read_bytes_at(offset, length).ok()?;
    let mut linkage = Linkage::default();
    for entry in &entries {
        match entry.tag(endian) {
            elf::DT_NEEDED => {
                let text = strings.get(usize::try_from(entry.val(endian)).ok()?..)?;
                let text = text.split(|byte| *byte == 0).next()?;
                linkage.needed.insert(String::from_utf8(text.to_vec()).ok()?);
            }
            elf::DT_RPATH | elf::DT_RUNPATH => linkage.forbid("a run path"),
            elf::DT_TEXTREL => linkage.forbid("text relocations"),
            elf::DT_FLAGS if entry.val(endian) & elf::DF_TEXTREL.0 != 0 => {
                linkage.forbid("text relocations");
            }
            _ => {}
        }
    }
    let stack = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_GNU_STACK);
    // Without the mark, the system's loader makes all stacks executable.
    if stack.is_none_or(|stack| stack.p_flags(endian).0 & elf::PF_X.0 != 0) {
        linkage.forbid("an executable stack");
    }
    linkage.is_musl = linkage.needed.iter().any(|name| name.contains("musl"));
    Some(linkage)
}

impl Linkage {
    fn forbid(&mut self, what: &'static str) {
        if !self.forbidden.contains(&what) {
            self.forbidden.push(what);
        }
    }
}
