//! Thrift's compact protocol as far as Parquet needs it. Bytes are walked before they are decoded,
//! so that counts are refused if the bytes cannot contain that many elements.
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>

/// The maximum nesting depth; Parquet's metadata is never nested deeper.
const DEPTH: usize = 32;

/// Why bytes are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// They end too early.
    Short,
    /// They are invalid; describes what was found.
    Wrong(&'static str),
}

type Walked<T> = Result<T, Fault>;

/// The type of a value; values that are not needed are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    True,
    False,
    Byte,
    Integer,
    Double,
    Binary,
    List,
    Map,
    Struct,
    Uuid,
}

impl Kind {
    fn of(code: u8) -> Walked<Self> {
        Ok(match code {
            1 => Self::True,
            2 => Self::False,
            3 => Self::Byte,
            4..=6 => Self::Integer,
            7 => Self::Double,
            8 => Self::Binary,
            9 | 10 => Self::List,
            11 => Self::Map,
            12 => Self::Struct,
            13 => Self::Uuid,
            _ => return Err(Fault::Wrong("an unknown thrift type")),
        })
    }
}

/// A position in the bytes.
pub(super) struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Compact<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Number of bytes taken so far.
    pub(super) fn taken(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Walked<u8> {
        let byte = *self.bytes.get(self.at).ok_or(Fault::Short)?;
        self.at += 1;
        Ok(byte)
    }

    fn pass(&mut self, count: u64) -> Walked<()> {
        let left = (self.bytes.len() - self.at) as u64;
        if count > left {
            return Err(Fault::Short);
        }
        self.at += count as usize;
        Ok(())
    }

    fn unsigned(&mut self) -> Walked<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::Wrong("an integer of more than 64 bits"))
    }

    /// A signed integer of any width.
    pub(super) fn integer(&mut self) -> Walked<i64> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A signed integer that has 32 bits by the format.
    pub(super) fn int32(&mut self) -> Walked<i32> {
        i32::try_from(self.integer()?).map_err(|_| Fault::Wrong("an integer of more than 32 bits"))
    }

    /// A count or a size that must not be negative.
    pub(super) fn size(&mut self) -> Walked<usize> {
        usize::try_from(self.int32()?).map_err(|_| Fault::Wrong("a negative size"))
    }

    /// The number and type of the next field, `None` at the struct's end. `last` is the number of
    /// the field before, initially 0.
    pub(super) fn field(&mut self, last: &mut i16) -> Walked<Option<(i16, Kind)>> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        let number = match head >> 4 {
            0 => i16::try_from(self.integer()?)
                .map_err(|_| Fault::Wrong("an invalid field number"))?,
            step => {
                last.checked_add(i16::from(step)).ok_or(Fault::Wrong("an invalid field number"))?
            }
        };
        *last = number;
        Ok(Some((number, Kind::of(head & 0x0F)?)))
    }

    /// The number of a list's elements and their type. Each element takes at least one byte.
    pub(super) fn list(&mut self) -> Walked<(usize, Kind)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.unsigned()?,
            count => u64::from(count),
        };
        if count > (self.bytes.len() - self.at) as u64 {
            return Err(Fault::Short);
        }
        // some writers give no type to the elements that an empty list does not have
        let kind = if count == 0 { Kind::Byte } else { Kind::of(head & 0x0F)? };
        Ok((count as usize, kind))
    }

    /// Skips a field's value.
    pub(super) fn skip(&mut self, kind: Kind) -> Walked<()> {
        self.skip_nested(kind, DEPTH)
    }

    fn skip_nested(&mut self, kind: Kind, depth: usize) -> Walked<()> {
        let depth = depth.checked_sub(1).ok_or(Fault::Wrong("too deeply nested"))?;
        match kind {
            Kind::True | Kind::False => Ok(()),
            Kind::Byte => self.pass(1),
            Kind::Integer => self.unsigned().map(|_| ()),
            Kind::Double => self.pass(8),
            Kind::Uuid => self.pass(16),
            Kind::Binary => {
                let length = self.unsigned()?;
                self.pass(length)
            }
            Kind::List => {
                let (count, kind) = self.list()?;
                (0..count).try_for_each(|_| self.skip_element(kind, depth))
            }
            Kind::Map => self.skip_map(depth),
            Kind::Struct => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip_nested(kind, depth)?;
                }
                Ok(())
            }
        }
    }

    /// Outside a struct, a boolean is a separate byte.
    fn skip_element(&mut self, kind: Kind, depth: usize) -> Walked<()> {
        match kind {
            Kind::True | Kind::False => self.pass(1),
            kind => self.skip_nested(kind, depth),
        }
    }

    fn skip_map(&mut self, depth: usize) -> Walked<()> {
        let count = self.unsigned()?;
        if count == 0 {
            return Ok(());
        }
        let kinds = self.byte()?;
        let (key, value) = (Kind::of(kinds >> 4)?, Kind::of(kinds & 0x0F)?);
        if count > (self.bytes.len() - self.at) as u64 {
            return Err(Fault::Short);
        }
        for _ in 0..count {
            self.skip_element(key, depth)?;
            self.skip_element(value, depth)?;
        }
        Ok(())
    }
}

/// Appends an unsigned integer.
pub(super) fn put_unsigned(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed integer.
pub(super) fn put_integer(value: i64, out: &mut Vec<u8>) {
    put_unsigned(((value << 1) ^ (value >> 63)) as u64, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_read_back_as_written() {
        for value in [0, 1, -1, 63, -64, 64, i64::from(i32::MIN), i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            put_integer(value, &mut out);
            let mut read = Compact::new(&out);
            assert_eq!(read.integer(), Ok(value));
            assert_eq!(read.taken(), out.len());
        }
    }

    #[test]
    fn counts_that_the_bytes_cannot_hold_are_refused() {
        // a binary of 2^63 bytes, a list of 2^31 structs, a map of 2^31 entries
        let long = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F];
        assert_eq!(Compact::new(&long).skip(Kind::Binary), Err(Fault::Short));
        let list = [0xFC, 0x80, 0x80, 0x80, 0x80, 0x08, 0, 0];
        assert_eq!(Compact::new(&list).skip(Kind::List), Err(Fault::Short));
        let map = [0x80, 0x80, 0x80, 0x80, 0x08, 0x55, 0, 0];
        assert_eq!(Compact::new(&map).skip(Kind::Map), Err(Fault::Short));
    }

    #[test]
    fn depth_has_an_end() {
        let nested = [0x1C; 100];
        assert_eq!(
            Compact::new(&nested).skip(Kind::Struct),
            Err(Fault::Wrong("too deeply nested"))
        );
    }
}
