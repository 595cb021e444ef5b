//! The part of `column` that makes values of varying length: texts, numerics, JSON and bytes,
//! written straight into the builder's memory.

use std::{fmt::Write as _, sync::Arc};

use arrow_array::{
    ArrayRef,
    builder::{BinaryBuilder, StringBuilder},
};
use transload_plugin_api::LogicalType;

use super::ColumnMaker;
use crate::{
    edges,
    random::{below, skew},
    spec::{self, Shape},
    words::WORDS,
};

impl ColumnMaker {
    /// Strings by row, each written by `write` unless the row has an edge value or NULL.
    fn strings(
        &self,
        rows: &[u64],
        edges: &[&str],
        mut write: impl FnMut(u64, &mut StringBuilder),
    ) -> ArrayRef {
        let validity = self.validity(rows);
        let mut builder = StringBuilder::with_capacity(rows.len(), rows.len() * 16);
        for (index, &row) in rows.iter().enumerate() {
            if validity.as_ref().is_some_and(|validity| validity.is_null(index)) {
                builder.append_null();
                continue;
            }
            match self.edge(row, edges.len()) {
                Some(pick) => builder.append_value(edges[pick]),
                None => {
                    write(row, &mut builder);
                    builder.append_value("");
                }
            }
        }
        Arc::new(builder.finish())
    }

    pub(super) fn texts(&self, rows: &[u64]) -> ArrayRef {
        let logical = &self.spec.logical;
        let mut edges = edges::TEXTS.to_vec();
        edges.retain(|edge| spec::fits(edge, logical));
        match &self.spec.shape {
            Shape::Sequence { .. } | Shape::Cycle(_) => self.strings(rows, &edges, |row, out| {
                push_number(out, self.number(row) as i64, 0);
            }),
            Shape::Choice(choices) => self.strings(rows, &edges, |row, out| {
                let pick = below(self.random(row), choices.len() as u64);
                push(out, &choices[pick as usize]);
            }),
            Shape::Words(low, high) => self.words(rows, &edges, (*low, *high)),
            _ => self.words(rows, &edges, (1, 4)),
        }
    }

    /// Words with blanks between them, as many as chosen and as fit the type's length.
    fn words(&self, rows: &[u64], edges: &[&str], (low, high): (u64, u64)) -> ArrayRef {
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
                push(out, &" "[..blank]);
                push(out, word);
                left -= word.len() + blank;
            }
        })
    }

    pub(super) fn numerics(&self, rows: &[u64]) -> ArrayRef {
        let edges = &edges::NUMERICS[..self.finite(edges::NUMERICS.len())];
        let scale = spec::NUMERIC_SCALE.into();
        self.strings(rows, edges, |row, out| push_number(out, self.number(row) as i64, scale))
    }

    pub(super) fn jsons(&self, rows: &[u64]) -> ArrayRef {
        self.strings(rows, &edges::JSONS, |row, out| {
            let random = self.random(row);
            let word = WORDS[below(random, WORDS.len() as u64) as usize];
            push(out, "{\"id\":");
            push_number(out, row as i64, 0);
            push(out, ",\"word\":\"");
            push(out, word);
            push(out, if random & 1 == 1 { "\",\"on\":true}" } else { "\",\"on\":false}" });
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

/// Adds to the string that is being built; writing into memory cannot fail.
fn push(out: &mut StringBuilder, text: &str) {
    let _ = out.write_str(text);
}

/// Adds a number with `scale` of its digits behind a point.
fn push_number(out: &mut StringBuilder, number: i64, scale: u32) {
    let unit = 10u64.pow(scale);
    let size = number.unsigned_abs();
    let sign = if number < 0 { "-" } else { "" };
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
            let mut out = StringBuilder::new();
            push_number(&mut out, number, scale);
            out.append_value("");
            assert_eq!(out.finish().value(0), text);
        }
    }
}
