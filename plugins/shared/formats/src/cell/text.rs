//! Columns whose values have any length: their bytes one behind the other, in vectors that become
//! the Arrow array without copying. Number columns are in `column`.

use std::{str, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BinaryArray, FixedSizeBinaryArray, StringArray, make_array, new_null_array,
};
use arrow_buffer::{Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType;

use super::{BinaryText, Cells, Fault, bytes, column::TypedColumn, number};

/// Values of any length, one behind the other.
pub(super) struct Texts<K> {
    kind: K,
    values: Vec<u8>,
    /// Where each value begins, then where the last one ends.
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
    nullable: bool,
}

impl<K: TextKind> Texts<K> {
    pub(super) fn new(kind: K, nullable: bool) -> Self {
        let nulls = NullBufferBuilder::new(0);
        Self { kind, values: Vec::new(), offsets: vec![0], nulls, nullable }
    }

    /// The end of the value just appended. Beyond 2 GiB the value is taken back.
    #[inline(always)]
    fn close(&mut self) -> Result<(), Fault> {
        let Ok(end) = i32::try_from(self.values.len()) else {
            self.values.truncate(self.offsets.last().map_or(0, |end| *end as usize));
            return Err(Fault::Length);
        };
        self.offsets.push(end);
        self.nulls.append_non_null();
        Ok(())
    }

    #[inline(always)]
    fn append_cell(
        &mut self,
        cells: &Cells<'_>,
        (start, end): (usize, usize),
        scratch: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let raw = &cells.window[start..end];
        if cells.is_null(start, end) {
            if !self.nullable {
                return Err(Fault::Null);
            }
            self.append_null();
            return Ok(());
        }
        if !cells.is_plain(start, end) {
            let text = cells.text(start, end, scratch)?;
            return self.append_text(text);
        }
        if self.kind.is_itself(raw, cells.utf8) {
            copy_short(cells.window, start, end, &mut self.values);
            return self.close();
        }
        self.append_text(raw)
    }
}

/// Appends `window[start..end]`. A short text is copied with 16 bytes at once and what is too
/// much taken back: a copy of known size costs a fraction of one of any size.
#[inline(always)]
fn copy_short(window: &[u8], start: usize, end: usize, out: &mut Vec<u8>) {
    let length = end - start;
    match window.get(start..start + 16) {
        Some(block) if length <= 16 => {
            out.extend_from_slice(block);
            out.truncate(out.len() - 16 + length);
        }
        _ => out.extend_from_slice(&window[start..end]),
    }
}

impl<K: TextKind> TypedColumn for Texts<K> {
    fn append_null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
        self.nulls.append_null();
    }

    fn append_text(&mut self, text: &[u8]) -> Result<(), Fault> {
        self.kind.append(text, &mut self.values)?;
        self.close()
    }

    fn append_cells(&mut self, cells: &Cells<'_>, faults: &mut Vec<(usize, Fault)>) {
        self.offsets.reserve(cells.bounds.len() / cells.stride);
        let mut scratch = Vec::new();
        for (row, span) in cells.spans().enumerate() {
            if let Err(fault) = self.append_cell(cells, span, &mut scratch) {
                faults.push((row, fault));
                self.append_null();
            }
        }
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn truncate_to(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.values.truncate(self.offsets.last().map_or(0, |end| *end as usize));
        self.nulls.truncate(rows);
    }

    fn finish(&mut self) -> ArrayRef {
        // the next batch will be about as large
        let mut offsets = Vec::with_capacity(self.offsets.len());
        offsets.push(0);
        let values = Vec::with_capacity(self.values.len() + self.values.len() / 16);
        let offsets = std::mem::replace(&mut self.offsets, offsets);
        let values = std::mem::replace(&mut self.values, values);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        K::array(offsets, values, self.nulls.finish())
    }
}

/// What a text column asks of a text, and which array it makes.
pub(super) trait TextKind: Send {
    /// Appends the bytes that the text stands for. On error nothing was appended.
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault>;

    /// Whether the text may be appended as it stands. `utf8`: it is known to be UTF-8.
    /// `false` leaves it to [`TextKind::append`].
    fn is_itself(&self, _text: &[u8], _utf8: bool) -> bool {
        false
    }

    fn array(offsets: OffsetBuffer<i32>, values: Vec<u8>, nulls: Nulls) -> ArrayRef
    where
        Self: Sized,
    {
        string_array(offsets, values, nulls)
    }
}

type Nulls = Option<arrow_buffer::NullBuffer>;

/// Never wrong for bytes that were checked when they were appended; a defect there shows as an
/// array of NULLs of the wrong length and so as an error when the batch is made.
fn string_array(offsets: OffsetBuffer<i32>, values: Vec<u8>, nulls: Nulls) -> ArrayRef {
    match StringArray::try_new(offsets, Buffer::from_vec(values), nulls) {
        Ok(array) => Arc::new(array),
        Err(_) => new_null_array(&DataType::Null, 0),
    }
}

pub(super) struct AnyText;

impl TextKind for AnyText {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        simdutf8::basic::from_utf8(text).map_err(|_| Fault::Utf8)?;
        out.extend_from_slice(text);
        Ok(())
    }

    #[inline(always)]
    fn is_itself(&self, _text: &[u8], utf8: bool) -> bool {
        utf8
    }
}

/// Text of at most so many characters.
pub(super) struct ShortText(pub(super) u32);

impl TextKind for ShortText {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        AnyText.append(text, out)?;
        if super::characters(text) > self.0 as usize {
            out.truncate(out.len() - text.len());
            return Err(Fault::Length);
        }
        Ok(())
    }

    #[inline(always)]
    fn is_itself(&self, text: &[u8], utf8: bool) -> bool {
        utf8 && text.len() <= self.0 as usize
    }
}

pub(super) struct NumericText;

impl TextKind for NumericText {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        if !number::is_numeric(text) {
            return Err(Fault::Parse);
        }
        out.extend_from_slice(text);
        Ok(())
    }
}

pub(super) struct JsonText;

impl TextKind for JsonText {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let words = str::from_utf8(text).map_err(|_| Fault::Utf8)?;
        serde_json::from_str::<serde::de::IgnoredAny>(words).map_err(|_| Fault::Parse)?;
        out.extend_from_slice(text);
        Ok(())
    }
}

impl TextKind for BinaryText {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::Hex => bytes::from_hex(text, out),
            Self::Base64 => bytes::from_base64(text, out),
        }
        .ok_or(Fault::Parse)
    }

    fn array(offsets: OffsetBuffer<i32>, values: Vec<u8>, nulls: Nulls) -> ArrayRef {
        match BinaryArray::try_new(offsets, Buffer::from_vec(values), nulls) {
            Ok(array) => Arc::new(array),
            Err(_) => new_null_array(&DataType::Null, 0),
        }
    }
}

pub(super) struct UuidText;

impl TextKind for UuidText {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        out.extend_from_slice(&bytes::from_uuid(text).ok_or(Fault::Parse)?);
        Ok(())
    }

    fn array(offsets: OffsetBuffer<i32>, values: Vec<u8>, nulls: Nulls) -> ArrayRef {
        // NULL rows have no bytes among the values, but the array wants 16 for each row
        let mut filled = Vec::with_capacity((offsets.len() - 1) * 16);
        for span in offsets.windows(2) {
            match values.get(span[0] as usize..span[1] as usize) {
                Some(value) if value.len() == 16 => filled.extend_from_slice(value),
                _ => filled.extend_from_slice(&[0; 16]),
            }
        }
        match FixedSizeBinaryArray::try_new(16, Buffer::from_vec(filled), nulls) {
            Ok(array) => make_array(array.into_data()),
            Err(_) => new_null_array(&DataType::Null, 0),
        }
    }
}
