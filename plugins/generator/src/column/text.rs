//! The part of `column` that generates values of varying length (texts, numerics, JSON and bytes),
//! directly into Arrow's buffers.

use std::{fmt::Write as _, sync::Arc};

use arrow_array::{ArrayRef, StringArray, builder::BinaryBuilder};
use arrow_buffer::{Buffer, OffsetBuffer};
use transload_plugin_api::{Error, ErrorKind, LogicalType, Result};

use super::{ColumnMaker, finished};
use crate::{
    edges,
    random::{below, skew},
    spec::{self, Shape},
    words::WORDS,
};

impl ColumnMaker {
    /// Strings by row; `write` writes each, unless the row has an edge value or NULL.
    fn strings(
        &self,
        rows: &[u64],
        edges: &[&str],
        mut write: impl FnMut(u64, &mut String),
    ) -> Result<ArrayRef> {
        let validity = self.validity(rows);
        let mut texts = String::with_capacity(rows.len() * 16);
        let mut ends = Vec::with_capacity(rows.len() + 1);
        ends.push(0);
        for (index, &row) in rows.iter().enumerate() {
            if validity.as_ref().is_none_or(|validity| validity.is_valid(index)) {
                match self.edge(row, edges.len()) {
                    Some(pick) => texts.push_str(edges[pick]),
                    None => write(row, &mut texts),
                }
            }
            ends.push(texts.len() as i32); // checked once, below
        }
        if i32::try_from(texts.len()).is_err() {
            let message = format!("{} rows of `{}` exceed 2 GiB", rows.len(), self.spec.name);
            return Err(Error::new(ErrorKind::Options, message).hint("lower `batch_rows`"));
        }
        let texts = Buffer::from_vec(texts.into_bytes());
        finished(StringArray::try_new(OffsetBuffer::new(ends.into()), texts, validity))
    }

    pub(super) fn texts(&self, rows: &[u64]) -> Result<ArrayRef> {
        let logical = &self.spec.logical;
        let mut edges = edges::TEXTS.to_vec();
        edges.retain(|edge| spec::fits(edge, logical));
        match &self.spec.shape {
            Shape::Sequence { .. } | Shape::Cycle(_) => self.strings(rows, &edges, |row, out| {
                push_number(out, self.number(row) as i64, 0);
            }),
            Shape::Choice(choices) => self.strings(rows, &edges, |row, out| {
                let pick = below(self.random(row), choices.len() as u64);
                out.push_str(&choices[pick as usize]);
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
                out.push_str(&" "[..blank]);
                out.push_str(word);
                left -= word.len() + blank;
            }
        })
    }

    pub(super) fn numerics(&self, rows: &[u64]) -> Result<ArrayRef> {
        let edges = &edges::NUMERICS[..self.finite(edges::NUMERICS.len())];
        let scale = spec::NUMERIC_SCALE.into();
        self.strings(rows, edges, |row, out| push_number(out, self.number(row) as i64, scale))
    }

    pub(super) fn jsons(&self, rows: &[u64]) -> Result<ArrayRef> {
        self.strings(rows, &edges::JSONS, |row, out| {
            let random = self.random(row);
            let word = WORDS[below(random, WORDS.len() as u64) as usize];
            out.push_str("{\"id\":");
            push_number(out, row as i64, 0);
            out.push_str(",\"word\":\"");
            out.push_str(word);
            out.push_str(if random & 1 == 1 { "\",\"on\":true}" } else { "\",\"on\":false}" });
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

/// Appends a number with `scale` decimal places.
fn push_number(out: &mut String, number: i64, scale: u32) {
    let unit = 10u64.pow(scale);
    let size = number.unsigned_abs();
    let sign = if number < 0 { "-" } else { "" };
    // Writing into memory cannot fail.
    let _ = match scale {
        0 => write!(out, "{sign}{size}"),
        _ => write!(out, "{sign}{}.{:0width$}", size / unit, size % unit, width = scale as usize),
    };
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

    #[test]
    fn numbers_are_written_with_their_scale() {
        for (number, scale, text) in
            [(0, 0, "0"), (-5, 0, "-5"), (5, 4, "0.0005"), (-12_345, 4, "-1.2345")]
        {
            let mut out = String::new();
            push_number(&mut out, number, scale);
            assert_eq!(out, text);
        }
    }
}
