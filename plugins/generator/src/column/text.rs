//! The part of `column` that generates values of varying length (texts, numerics, JSON and bytes),
//! directly into Arrow's buffers.

use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray, builder::BinaryBuilder};
use arrow_buffer::{Buffer, OffsetBuffer};
use transload_plugin_api::{Error, LogicalType, Result};
use transload_values::write;

use super::{ColumnMaker, finished};
use crate::{
    edges,
    random::{below, skew},
    spec::{self, Shape},
    words::WORDS,
};

impl ColumnMaker {
    /// Strings by row; `append` appends each, unless the row has an edge value or NULL.
    fn strings(
        &self,
        rows: &[u64],
        edges: &[&str],
        mut append: impl FnMut(u64, &mut Vec<u8>),
    ) -> Result<ArrayRef> {
        let validity = self.validity(rows);
        let mut texts = Vec::with_capacity(rows.len() * 16);
        let mut ends = Vec::with_capacity(rows.len() + 1);
        ends.push(0);
        for (index, &row) in rows.iter().enumerate() {
            if validity.as_ref().is_none_or(|validity| validity.is_valid(index)) {
                match self.edge(row, edges.len()) {
                    Some(pick) => texts.extend_from_slice(edges[pick].as_bytes()),
                    None => append(row, &mut texts),
                }
            }
            ends.push(texts.len() as i32); // checked once, below
        }
        if i32::try_from(texts.len()).is_err() {
            let message = format!("{} rows of `{}` exceed 2 GiB", rows.len(), self.spec.name);
            return Err(Error::options(message).hint("lower `batch_rows`"));
        }
        let texts = Buffer::from_vec(texts);
        finished(StringArray::try_new(OffsetBuffer::new(ends.into()), texts, validity))
    }

    pub(super) fn texts(&self, rows: &[u64]) -> Result<ArrayRef> {
        let logical = &self.spec.logical;
        let mut edges = edges::TEXTS.to_vec();
        edges.retain(|edge| spec::fits(edge, logical));
        match &self.spec.shape {
            Shape::Sequence { .. } | Shape::Cycle(_) => self.strings(rows, &edges, |row, out| {
                write::integer(self.number(row) as i64, out);
            }),
            Shape::Choice(choices) => self.strings(rows, &edges, |row, out| {
                let pick = below(self.random(row), choices.len() as u64);
                out.extend_from_slice(choices[pick as usize].as_bytes());
            }),
            Shape::Words(low, high) => self.words(rows, &edges, (*low, *high)),
            _ => self.words(rows, &edges, (1, 4)),
        }
    }

    /// Words separated by blanks, as many as chosen and as fit the type's length.
    fn words(&self, rows: &[u64], edges: &[&str], (low, high): (u64, u64)) -> Result<ArrayRef> {
        let limit = match self.spec.logical {
            LogicalType::Text { length: Some(length) } => length as usize,
            _ => usize::MAX,
        };
        self.strings(rows, edges, |row, out| {
            let count = low + below(self.second.at(row), high - low + 1);
            let mut left = limit;
            for index in 0..count {
                let random = self.values.at(row.wrapping_mul(31).wrapping_add(index));
                let random = if self.spec.skewed { skew(random) } else { random };
                let word = WORDS[below(random, WORDS.len() as u64) as usize];
                let blank = usize::from(index > 0);
                if word.len() + blank > left {
                    break;
                }
                out.extend_from_slice(&b" "[..blank]);
                out.extend_from_slice(word.as_bytes());
                left -= word.len() + blank;
            }
        })
    }

    pub(super) fn numerics(&self, rows: &[u64]) -> Result<ArrayRef> {
        let edges = &edges::NUMERICS[..self.finite(edges::NUMERICS.len())];
        let scale = usize::from(spec::NUMERIC_SCALE);
        self.strings(rows, edges, |row, out| {
            write::decimal((self.number(row) as i64).into(), scale, out)
        })
    }

    pub(super) fn jsons(&self, rows: &[u64]) -> Result<ArrayRef> {
        self.strings(rows, &edges::JSONS, |row, out| {
            let random = self.random(row);
            let word = WORDS[below(random, WORDS.len() as u64) as usize];
            out.extend_from_slice(b"{\"id\":");
            write::integer(row as i64, out);
            out.extend_from_slice(b",\"word\":\"");
            out.extend_from_slice(word.as_bytes());
            let on: &[u8] = if random & 1 == 1 { b"\",\"on\":true}" } else { b"\",\"on\":false}" };
            out.extend_from_slice(on);
        })
    }

    pub(super) fn binaries(&self, rows: &[u64]) -> ArrayRef {
        let (low, high) = match self.spec.shape {
            Shape::Bytes(low, high) => (low, high),
            _ => (0, 16),
        };
        let validity = self.validity(rows);
        let mut builder = BinaryBuilder::with_capacity(rows.len(), rows.len() * high as usize);
        let mut bytes = Vec::new();
        for (index, &row) in rows.iter().enumerate() {
            if validity.as_ref().is_some_and(|validity| validity.is_null(index)) {
                builder.append_null();
            } else if let Some(pick) = self.edge(row, edges::BINARIES.len()) {
                builder.append_value(edges::BINARIES[pick]);
            } else {
                let length = low + below(self.random(row), high - low + 1);
                bytes.clear();
                let words = (0..length.div_ceil(8)).map(|word| self.second.at(row * 4099 + word));
                bytes.extend(words.flat_map(u64::to_le_bytes));
                builder.append_value(&bytes[..length as usize]);
            }
        }
        Arc::new(builder.finish())
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;

    use super::*;
    use crate::spec::ColumnSpec;

    fn make(spec: &str, rows: std::ops::Range<u64>) -> ArrayRef {
        let spec = ColumnSpec::parse("c", spec, rows.end).unwrap();
        ColumnMaker::new(spec, 1).make(&rows.collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn t38_binaries_have_the_lengths_asked_for() {
        let array = make("binary bytes 3..20", 0..1_000);
        let lengths: Vec<_> = array.as_binary::<i32>().iter().map(|it| it.unwrap().len()).collect();
        assert!(lengths.iter().all(|length| (3..=20).contains(length)));
        assert!(lengths.contains(&3) && lengths.contains(&20));
    }

    #[test]
    fn t34_made_json_is_json() {
        let array = make("json edge 20%", 0..1_000);
        for text in array.as_string::<i32>().iter().flatten() {
            serde_json::from_str::<serde::de::IgnoredAny>(text).unwrap();
        }
    }
}
