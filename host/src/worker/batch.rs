//! A record batch as the body of a message: its buffers as they are, one after another, and the lengths
//! in the message. The schema is known to both sides. A batch from another process is validated whole
//! before it becomes one: offsets, UTF-8, lengths, nulls.

use std::{iter, slice};

use arrow_array::{Array, RecordBatch, RecordBatchOptions, make_array};
use arrow_buffer::{ArrowNativeType, Buffer};
use arrow_data::{ArrayData, ArrayDataBuilder};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, Result, catch_panic, code};

use super::channel::aligned;

/// The lengths of a batch.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BatchShape {
    rows: u64,
    /// For each array, children behind their parent: its length, and whether it has nulls.
    arrays: Vec<(u64, bool)>,
    /// The bytes of each buffer, in the same order.
    buffers: Vec<u64>,
}

/// A batch in two parts: its shape, and the buffers of the body.
///
/// # Errors
/// [`ErrorKind::Defect`](transload_plugin_api::ErrorKind::Defect) for a type that no column has.
pub(super) fn encode(batch: &RecordBatch) -> Result<(BatchShape, Vec<Buffer>)> {
    let mut encoder = Encoder::default();
    for column in batch.columns() {
        encoder.put(&column.to_data())?;
    }
    let Encoder { arrays, buffers } = encoder;
    let lengths = buffers.iter().map(|buffer| buffer.len() as u64).collect();
    Ok((BatchShape { rows: batch.num_rows() as u64, arrays, buffers: lengths }, buffers))
}

#[derive(Default)]
struct Encoder {
    arrays: Vec<(u64, bool)>,
    buffers: Vec<Buffer>,
}

impl Encoder {
    /// Adds an array without what lies before its offset and behind its length.
    fn put(&mut self, data: &ArrayData) -> Result<()> {
        let (offset, rows) = (data.offset(), data.len());
        let nulls = data.nulls().filter(|nulls| nulls.null_count() > 0);
        self.arrays.push((rows as u64, nulls.is_some()));
        self.buffers.extend(nulls.map(|nulls| nulls.inner().sliced()));
        match data.data_type() {
            DataType::Boolean => self.buffers.push(data.buffers()[0].bit_slice(offset, rows)),
            DataType::Utf8 | DataType::Binary => {
                let (first, last) = self.put_offsets::<i32>(data);
                self.buffers.push(data.buffers()[1].slice_with_length(first, last - first));
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                let (first, last) = self.put_offsets::<i64>(data);
                self.buffers.push(data.buffers()[1].slice_with_length(first, last - first));
            }
            DataType::List(_) => {
                let (first, last) = self.put_offsets::<i32>(data);
                self.put(&data.child_data()[0].slice(first, last - first))?;
            }
            other => match width(other) {
                Some(width) => {
                    let values = data.buffers()[0].slice_with_length(offset * width, rows * width);
                    self.buffers.push(values);
                }
                None => return Err(unknown(other)),
            },
        }
        Ok(())
    }

    /// Adds offsets that begin at 0. Returns what they covered.
    fn put_offsets<T: ArrowNativeType>(&mut self, data: &ArrayData) -> (usize, usize) {
        if data.is_empty() {
            self.buffers.push(Buffer::from_slice_ref([T::default()]));
            return (0, 0);
        }
        let offsets = &data.buffer::<T>(0)[..=data.len()];
        let (first, last) = (offsets[0].as_usize(), offsets[data.len()].as_usize());
        self.buffers.push(match first {
            0 => {
                let bytes = size_of_val(offsets);
                data.buffers()[0].slice_with_length(data.offset() * size_of::<T>(), bytes)
            }
            _ => offsets.iter().map(|offset| T::usize_as(offset.as_usize() - first)).collect(),
        });
        (first, last)
    }
}

/// The bytes of a value, for types with one buffer of values of the same width.
fn width(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::FixedSizeBinary(width) => usize::try_from(*width).ok(),
        other => other.primitive_width(),
    }
}

/// The batch of this shape and body, whoever made them.
///
/// # Errors
/// [`ErrorKind::Defect`](transload_plugin_api::ErrorKind::Defect) if they are no batch of the schema.
pub(super) fn decode(schema: &SchemaRef, shape: &BatchShape, body: &Buffer) -> Result<RecordBatch> {
    // What is validated may be anything; a panic in the validation is a refusal as well.
    let decoded = catch_panic(|| Decoder::new(shape, body).batch(schema, shape.rows));
    decoded.unwrap_or_else(|| Err(broken("a batch cannot be validated")))
}

struct Decoder<'a> {
    arrays: slice::Iter<'a, (u64, bool)>,
    buffers: slice::Iter<'a, u64>,
    body: &'a Buffer,
    at: usize,
}

impl<'a> Decoder<'a> {
    fn new(shape: &'a BatchShape, body: &'a Buffer) -> Self {
        Self { arrays: shape.arrays.iter(), buffers: shape.buffers.iter(), body, at: 0 }
    }

    fn batch(mut self, schema: &SchemaRef, rows: u64) -> Result<RecordBatch> {
        let rows = usize::try_from(rows).map_err(|_| broken("a batch has too many rows"))?;
        let columns = schema.fields().iter().map(|field| self.array(field.data_type()));
        let columns = columns.map(|data| data.map(make_array)).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema.clone(), columns, &options)
            .map_err(|error| invalid(&error))
    }

    fn array(&mut self, data_type: &DataType) -> Result<ArrayData> {
        let (rows, has_nulls) = self.arrays.next().ok_or_else(|| broken("an array is missing"))?;
        let rows = usize::try_from(*rows).map_err(|_| broken("an array is too long"))?;
        let nulls = has_nulls.then(|| self.buffer()).transpose()?;
        let buffers = match data_type {
            DataType::Utf8 | DataType::Binary | DataType::LargeUtf8 | DataType::LargeBinary => 2,
            _ => 1,
        };
        let buffers = iter::repeat_with(|| self.buffer()).take(buffers).collect::<Result<_>>()?;
        let children = match data_type {
            DataType::List(item) => vec![self.array(item.data_type())?],
            _ => Vec::new(),
        };
        ArrayDataBuilder::new(data_type.clone())
            .len(rows)
            .null_bit_buffer(nulls)
            .buffers(buffers)
            .child_data(children)
            .build()
            .map_err(|error| invalid(&error))
    }

    fn buffer(&mut self) -> Result<Buffer> {
        let outside = || broken("a buffer lies outside of its batch");
        let bytes = self.buffers.next().ok_or_else(|| broken("a buffer is missing"))?;
        let bytes = usize::try_from(*bytes).map_err(|_| outside())?;
        let end = self.at.checked_add(bytes).filter(|end| *end <= self.body.len());
        let end = end.ok_or_else(outside)?;
        let buffer = self.body.slice_with_length(self.at, bytes);
        self.at = aligned(end).min(self.body.len());
        Ok(buffer)
    }
}

fn broken(message: &str) -> Error {
    Error::defect(message).with_code(code::PLUGIN_BATCH)
}

fn invalid(error: &ArrowError) -> Error {
    broken("a batch breaks the rules of Arrow").caused_by(error)
}

fn unknown(data_type: &DataType) -> Error {
    broken(&format!("no column has the type {data_type}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Int64Array, ListArray,
        StringArray, types::Int32Type,
    };
    use arrow_schema::{Field, Schema};

    use super::*;

    fn batch() -> RecordBatch {
        let lists = [Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(7)])];
        let uuids = [Some([1_u8; 4]), None, Some([3; 4]), Some([4; 4])].into_iter();
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])),
            Arc::new(StringArray::from(vec![Some("ab"), None, Some(""), Some("cdé")])),
            Arc::new(Decimal128Array::from(vec![Some(1), None, Some(3), Some(-4)])),
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(uuids, 4).unwrap()),
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)),
        ];
        let fields = arrays.iter().enumerate();
        let fields =
            fields.map(|(at, array)| Field::new(at.to_string(), array.data_type().clone(), at > 0));
        RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), arrays).unwrap()
    }

    /// The body as it arrives.
    fn joined(buffers: &[Buffer]) -> Buffer {
        let mut body = arrow_buffer::MutableBuffer::new(0);
        for buffer in buffers {
            body.extend_from_slice(buffer.as_slice());
            body.resize(aligned(body.len()), 0);
        }
        body.into()
    }

    #[test]
    fn batches_and_their_slices_pass_unchanged() {
        let whole = batch();
        for from in 0..=4 {
            for rows in 0..=4 - from {
                let slice = whole.slice(from, rows);
                let (shape, buffers) = encode(&slice).unwrap();
                let decoded = decode(&whole.schema(), &shape, &joined(&buffers)).unwrap();
                assert_eq!(decoded, slice, "{from} {rows}");
            }
        }
        let none = RecordBatch::try_new_with_options(
            Arc::new(Schema::empty()),
            vec![],
            &RecordBatchOptions::new().with_row_count(Some(7)),
        );
        let (shape, buffers) = encode(&none.unwrap()).unwrap();
        let decoded = decode(&Arc::new(Schema::empty()), &shape, &joined(&buffers)).unwrap();
        assert_eq!(decoded.num_rows(), 7);
    }

    /// Every byte and every length changed: a batch that can be read whole, or an error.
    #[test]
    fn a_batch_of_a_hostile_process_is_refused_or_whole() {
        let whole = batch();
        let (shape, buffers) = encode(&whole).unwrap();
        let body = joined(&buffers);
        for at in 0..body.len() {
            let mut changed = body.to_vec();
            changed[at] ^= 0xff;
            let aligned = joined(&[changed.into()]);
            if let Ok(read) = decode(&whole.schema(), &shape, &aligned) {
                assert!(!format!("{read:?}").is_empty());
            }
        }
        let json = serde_json::to_value(&shape).unwrap();
        for list in ["arrays", "buffers"] {
            for at in 0..json[list].as_array().unwrap().len() {
                for number in [0_u64, 1, 1 << 20, u64::MAX] {
                    let mut json = json.clone();
                    let place = &mut json[list][at];
                    let place = if list == "arrays" { &mut place[0] } else { place };
                    if *place == number {
                        continue;
                    }
                    *place = number.into();
                    let shape: BatchShape = serde_json::from_value(json).unwrap();
                    if let Ok(read) = decode(&whole.schema(), &shape, &body) {
                        assert_eq!(read.num_rows(), 4);
                        assert!(!format!("{read:?}").is_empty());
                    }
                }
            }
        }
    }
}
