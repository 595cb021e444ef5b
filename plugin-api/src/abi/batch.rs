//! Batches and schemas through the Arrow C Data Interface. Buffers are shared, not copied. The
//! schema crosses once per task; the exporting side compares each batch with it, because the
//! importing side cannot detect a wrong type.

use std::{mem, ptr, sync::Arc};

use abi_stable::std_types::RString;
use arrow_array::{
    Array, RecordBatch, RecordBatchOptions, StructArray,
    ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type},
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

use serde::{Deserialize, Serialize};

use super::{
    guard::{catch, from_json, to_json},
    module::{FfiArray, FfiBatch, FfiSchema},
};
use crate::{DirtyRow, Error, Gap, Result, code};

/// Conversions between a mirror struct of `module` and arrow-rs's own struct, which are the same C
/// struct. Only the mirror has a layout that abi_stable can check.
macro_rules! same_struct {
    ($mirror:ty, $arrow:ty) => {
        const _: () = assert!(mem::size_of::<$mirror>() == mem::size_of::<$arrow>());
        const _: () = assert!(mem::align_of::<$mirror>() == mem::align_of::<$arrow>());

        impl From<$arrow> for $mirror {
            fn from(arrow: $arrow) -> Self {
                // SAFETY: the same C struct, function pointers as pointers; ownership moves.
                unsafe { mem::transmute::<$arrow, $mirror>(arrow) }
            }
        }

        impl From<$mirror> for $arrow {
            fn from(mirror: $mirror) -> Self {
                // SAFETY: as above.
                unsafe { mem::transmute::<$mirror, $arrow>(mirror) }
            }
        }

        impl Drop for $mirror {
            fn drop(&mut self) {
                // SAFETY: the same C struct, and `self` is not used after this; the fields have
                // no drop of their own.
                drop(unsafe { ptr::read(ptr::from_mut(self).cast::<$arrow>()) });
            }
        }
    };
}

same_struct!(FfiArray, FFI_ArrowArray);
same_struct!(FfiSchema, FFI_ArrowSchema);

// SAFETY: the interface lets an array be moved to and released on any thread.
unsafe impl Send for FfiArray {}
// SAFETY: as above.
unsafe impl Send for FfiSchema {}

/// What only some batches carry. It crosses as JSON, so keys can be added.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct BatchNotes {
    /// Rows that could not be read or written.
    #[serde(default)]
    pub(super) dirty: Vec<DirtyRow>,
    /// Gaps of the batch's origin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) gaps: Vec<Gap>,
    /// The whole name of the origin's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    /// Bytes that a writer keeps of the rows until their commit.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub(super) held: u64,
}

fn is_nothing(bytes: &u64) -> bool {
    *bytes == 0
}

impl BatchNotes {
    /// The notes as JSON; an empty text for a batch without any, as most are.
    pub(super) fn to_text(&self) -> Result<RString> {
        let is_nothing = self.dirty.is_empty() && self.gaps.is_empty() && self.file.is_none();
        if is_nothing && self.held == 0 { Ok(RString::new()) } else { to_json(self) }
    }

    /// The notes from their JSON or empty text.
    pub(super) fn from_text(text: &str) -> Result<Self> {
        if text.is_empty() { Ok(Self::default()) } else { from_json("batch notes", text) }
    }
}

/// A schema as the struct that crosses. The caller owns it.
///
/// # Errors
/// [`crate::ErrorKind::Defect`] for a type that the C Data Interface does not have.
pub(super) fn export_schema(schema: &Schema) -> Result<FfiSchema> {
    FFI_ArrowSchema::try_from(schema).map(FfiSchema::from).map_err(|error| refused(&error))
}

/// A schema that has crossed. The struct is read and stays the caller's.
///
/// # Errors
/// [`crate::ErrorKind::Defect`] for a struct that is not a valid schema.
pub(super) fn import_schema(schema: &FfiSchema) -> Result<SchemaRef> {
    // SAFETY: the same C struct, only looked at.
    let schema = unsafe { &*ptr::from_ref(schema).cast::<FFI_ArrowSchema>() };
    catch("import of a schema", || {
        Schema::try_from(schema).map(Arc::new).map_err(|error| refused(&error))
    })
}

/// Checks a task's schema. Both sides derive it from the columns with their own version of this
/// crate, so a difference means that the versions derive it differently.
///
/// # Errors
/// [`crate::ErrorKind::Defect`] with the first difference.
pub(super) fn ensure_same_schema(wanted: &Schema, found: &Schema) -> Result<()> {
    difference(wanted, found).map_or(Ok(()), |difference| {
        Err(broken(format!("the task's schema is not that of its columns: {difference}")))
    })
}

/// A batch as the struct that crosses. The receiver owns it; buffers stay shared with `batch`.
///
/// # Errors
/// [`crate::ErrorKind::Defect`] if the batch does not have the declared schema: on the other side that
/// would be undefined behaviour.
pub(super) fn export_batch(batch: &RecordBatch, declared: &SchemaRef) -> Result<FfiBatch> {
    let schema = batch.schema_ref();
    if !Arc::ptr_eq(schema, declared)
        && let Some(difference) = difference(declared, schema)
    {
        return Err(broken(format!("the batch is not of the declared schema: {difference}")));
    }
    let rows = batch.num_rows() as u64;
    if batch.num_columns() == 0 {
        return Ok(FfiBatch { array: FFI_ArrowArray::empty().into(), rows });
    }
    let data = StructArray::from(batch.clone()).into_data();
    Ok(FfiBatch { array: FFI_ArrowArray::new(&data).into(), rows })
}

/// A batch that has crossed, of the schema that crossed before it. Buffers are shared with the
/// other side and freed by it when the batch is dropped.
///
/// # Errors
/// [`crate::ErrorKind::Defect`] if the struct does not fit the schema, or if whole rows are null.
pub(super) fn import_batch(batch: FfiBatch, declared: &SchemaRef) -> Result<RecordBatch> {
    let FfiBatch { array, rows } = batch;
    // arrow-rs panics on a wrong number of columns.
    catch("import of a batch", || import_columns(array.into(), rows, declared))
}

fn import_columns(array: FFI_ArrowArray, rows: u64, declared: &SchemaRef) -> Result<RecordBatch> {
    let rows = usize::try_from(rows).map_err(|_| broken(format!("a batch of {rows} rows")))?;
    let columns = if declared.fields().is_empty() {
        Vec::new()
    } else {
        let data_type = DataType::Struct(declared.fields().clone());
        // SAFETY: the exporting side has compared its schema with the declared one, and the rest
        // is the interface's contract.
        let data = unsafe { from_ffi_and_data_type(array, data_type) };
        let (_, columns, nulls) =
            StructArray::from(data.map_err(|error| refused(&error))?).into_parts();
        if nulls.is_some_and(|nulls| nulls.null_count() > 0) {
            return Err(broken("the batch has nulls in place of whole rows"));
        }
        columns
    };
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(declared.clone(), columns, &options)
        .map_err(|error| refused(&error))
}

/// The first difference of two schemas in words. Field metadata counts, because it holds the
/// logical types.
fn difference(wanted: &Schema, found: &Schema) -> Option<String> {
    if wanted == found {
        return None;
    }
    let (wanted, found) = (wanted.fields(), found.fields());
    if wanted.len() != found.len() {
        return Some(format!("expected {} columns, found {}", wanted.len(), found.len()));
    }
    let differing = wanted.iter().zip(found).find(|(wanted, found)| wanted != found);
    let (wanted, found) = differing?; // else only the schema's own metadata differs, which is unused
    Some(format!("expected {}, found {}", in_words(wanted), in_words(found)))
}

/// A field with everything that is compared.
fn in_words(field: &Field) -> String {
    let null = if field.is_nullable() { "null" } else { "not null" };
    let mut metadata: Vec<_> = field.metadata().iter().collect();
    metadata.sort();
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("`{}` {} {null} [{}]", field.name(), field.data_type(), metadata.join(", "))
}

fn broken(message: impl Into<String>) -> Error {
    Error::defect(message).with_code(code::PLUGIN_BATCH)
}

fn refused(error: &ArrowError) -> Error {
    broken("the batch or schema breaks the Arrow C Data Interface").caused_by(error)
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Int32Array, StringArray};

    use super::*;
    use crate::ErrorKind;
    use crate::{Column, LogicalType, schema_of};

    fn schema(types: &[LogicalType]) -> SchemaRef {
        let columns: Vec<Column> = (0..)
            .zip(types)
            .map(|(index, logical): (u32, _)| Column::new(index.to_string(), logical.clone(), true))
            .collect();
        schema_of(&columns)
    }

    fn batch() -> RecordBatch {
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![Some(1), None, Some(3)])),
            Arc::new(StringArray::from(vec![Some(""), Some("ü"), None])),
        ];
        RecordBatch::try_new(schema(&[LogicalType::Int32, LogicalType::TEXT]), arrays).unwrap()
    }

    #[test]
    fn buffers_are_shared_and_outlive_the_exported_batch() {
        let original = batch();
        let address = original.column(1).to_data().buffers()[1].as_ptr();
        let exported = export_batch(&original, &original.schema()).unwrap();
        let schema = original.schema();
        drop(original);
        let imported = import_batch(exported, &schema).unwrap();
        assert_eq!(imported, batch());
        assert_eq!(imported.column(1).to_data().buffers()[1].as_ptr(), address);
    }

    #[test]
    fn the_schema_is_compared_whole() {
        let batch = batch();
        let renamed = schema(&[LogicalType::Int32, LogicalType::Json]);
        let error = export_batch(&batch, &renamed).err().unwrap();
        // The Arrow types are equal; the metadata distinguishes JSON from text.
        assert!(error.message.contains("transload.type=json"), "{error}");
        assert!(error.message.contains("transload.type=text"), "{error}");
        let sent = export_schema(&renamed).unwrap();
        assert_eq!(import_schema(&sent).unwrap(), renamed);
        assert!(ensure_same_schema(&renamed, &batch.schema()).is_err());
    }

    #[test]
    fn t61_an_array_that_does_not_fit_its_schema_is_an_error() {
        let batch = batch();
        let exported = || export_batch(&batch, &batch.schema()).unwrap();
        // arrow-rs panics here.
        let error = import_batch(exported(), &schema(&[LogicalType::Int32])).unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Defect, "PLUGIN-PANIC"));
        let lying = FfiBatch { rows: 4, ..exported() };
        assert_eq!(import_batch(lying, &batch.schema()).unwrap_err().code, "PLUGIN-BATCH");
        let empty = FfiBatch { array: FFI_ArrowArray::empty().into(), rows: 3 };
        assert_eq!(import_batch(empty, &batch.schema()).unwrap_err().kind, ErrorKind::Defect);
    }

    #[test]
    fn nulls_in_place_of_rows_are_refused() {
        let batch = batch();
        let nulls = Some(vec![true, false, true].into());
        let rows =
            StructArray::new(batch.schema().fields().clone(), batch.columns().to_vec(), nulls);
        let array = FFI_ArrowArray::new(&rows.into_data()).into();
        let error = import_batch(FfiBatch { array, rows: 3 }, &batch.schema()).unwrap_err();
        assert_eq!(error.message, "the batch has nulls in place of whole rows");
    }

    #[test]
    fn rows_without_columns_are_counted() {
        let options = RecordBatchOptions::new().with_row_count(Some(7));
        let batch = RecordBatch::try_new_with_options(schema(&[]), vec![], &options).unwrap();
        let exported = export_batch(&batch, &schema(&[])).unwrap();
        assert_eq!(import_batch(exported, &schema(&[])).unwrap().num_rows(), 7);
    }
}
