//! Tests that structs, maps and lists of structs read back as they were written by another writer:
//! divided into columns, and as JSON texts. Schemas and values are generated.

use std::{ops::Range, sync::Arc};

use arrow_array::{
    Array, ArrayRef, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray,
    cast::AsArray, types::Int64Type,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields, Schema};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
use proptest::{
    collection::vec,
    prelude::{BoxedStrategy, Just, ProptestConfig, Strategy, any, prop_oneof, proptest},
    test_runner::TestCaseResult,
};
use serde_json::{Map, Value, json};
use transload_formats::{Nested, Nesting};
use transload_plugin_api::LogicalType;

use crate::memory::{Memory, read};

/// A type that is written.
#[derive(Clone, Debug)]
enum Kind {
    Int { required: bool },
    Text,
    List(Box<Kind>),
    Struct(Vec<Kind>),
    Map(Box<Kind>),
}

impl Kind {
    fn field(&self, name: &str) -> Field {
        Field::new(name, self.data_type(), !matches!(self, Self::Int { required: true }))
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Int { .. } => DataType::Int64,
            Self::Text => DataType::Utf8,
            Self::List(item) => DataType::List(Arc::new(item.field("element"))),
            Self::Struct(of) => DataType::Struct(fields(of)),
            Self::Map(value) => DataType::Map(Arc::new(entries(value)), false),
        }
    }

    /// The array of these values. What is required has a 0 where its struct is NULL.
    fn array(&self, values: &[Value]) -> ArrayRef {
        let nulls: NullBuffer = values.iter().map(|value| !value.is_null()).collect();
        match self {
            Self::Int { required: true } => {
                let ints = values.iter().map(|value| value.as_i64().unwrap_or(0));
                Arc::new(Int64Array::from_iter_values(ints))
            }
            Self::Int { .. } => Arc::new(values.iter().map(Value::as_i64).collect::<Int64Array>()),
            Self::Text => Arc::new(values.iter().map(Value::as_str).collect::<StringArray>()),
            Self::List(item) => {
                let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
                let lengths = values.iter().map(|value| items(value).len());
                let offsets = OffsetBuffer::from_lengths(lengths);
                let items: Vec<_> = values.iter().flat_map(items).collect();
                let (field, items) = (Arc::new(item.field("element")), item.array(&items));
                Arc::new(ListArray::new(field, offsets, items, Some(nulls)))
            }
            Self::Struct(of) => {
                let column = |(at, kind): (usize, &Kind)| {
                    let values = values.iter().map(|value| value[name(at)].clone());
                    kind.array(&values.collect::<Vec<_>>())
                };
                let columns = of.iter().enumerate().map(column).collect();
                Arc::new(StructArray::new(fields(of), columns, Some(nulls)))
            }
            Self::Map(value) => {
                let pairs = |value: &Value| value.as_object().cloned().unwrap_or_default();
                let offsets = OffsetBuffer::from_lengths(values.iter().map(|it| pairs(it).len()));
                let (keys, items): (Vec<_>, Vec<_>) = values.iter().flat_map(pairs).unzip();
                let keys: ArrayRef = Arc::new(StringArray::from(keys));
                let entry = entries(value);
                let DataType::Struct(of) = entry.data_type().clone() else { panic!("entries") };
                let columns = StructArray::new(of, vec![keys, value.array(&items)], None);
                Arc::new(MapArray::new(Arc::new(entry), offsets, columns, Some(nulls), false))
            }
        }
    }

    /// A value of the type.
    fn value(&self) -> BoxedStrategy<Value> {
        let value = match self {
            Self::Int { required: true } => return any::<i64>().prop_map(Value::from).boxed(),
            Self::Int { .. } => any::<i64>().prop_map(Value::from).boxed(),
            Self::Text => "[a-zü\"\\\\\n]{0,4}".prop_map(Value::from).boxed(),
            Self::List(item) => vec(item.value(), 0..4).prop_map(Value::from).boxed(),
            Self::Struct(of) => {
                let fields: Vec<_> = of.iter().map(Self::value).collect();
                let named = |values: Vec<Value>| {
                    let pairs = values.into_iter().enumerate();
                    Value::from(pairs.map(|(at, it)| (name(at), it)).collect::<Map<_, _>>())
                };
                fields.prop_map(named).boxed()
            }
            Self::Map(value) => {
                let pairs = vec(("[a-c]", value.value()), 0..4);
                pairs.prop_map(|it| Value::from(it.into_iter().collect::<Map<_, _>>())).boxed()
            }
        };
        prop_oneof![1 => Just(Value::Null), 4 => value].boxed()
    }

    /// The columns of a struct's fields, with the path to each.
    fn columns(&self, name_of: &str, path: &[String], found: &mut Vec<(String, Vec<String>)>) {
        let Self::Struct(of) = self else {
            return found.push((name_of.to_owned(), path.to_vec()));
        };
        for (at, kind) in of.iter().enumerate() {
            let path: Vec<_> = path.iter().cloned().chain([name(at)]).collect();
            kind.columns(&format!("{name_of}.{}", name(at)), &path, found);
        }
    }
}

fn name(at: usize) -> String {
    format!("f{at}")
}

fn fields(kinds: &[Kind]) -> Fields {
    kinds.iter().enumerate().map(|(at, kind)| kind.field(&name(at))).collect()
}

fn entries(value: &Kind) -> Field {
    let key = Field::new("keys", DataType::Utf8, false);
    Field::new("entries", DataType::Struct(vec![key, value.field("values")].into()), false)
}

fn kinds() -> impl Strategy<Value = Kind> {
    let leaf =
        prop_oneof![any::<bool>().prop_map(|required| Kind::Int { required }), Just(Kind::Text)];
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            1 => inner.clone().prop_map(|item| Kind::List(Box::new(item))),
            1 => inner.clone().prop_map(|value| Kind::Map(Box::new(value))),
            3 => vec(inner, 1..4).prop_map(Kind::Struct),
        ]
    })
}

/// A table: the types of its columns, and the rows of each.
fn tables() -> impl Strategy<Value = (Vec<Kind>, Vec<Vec<Value>>)> {
    (vec(kinds(), 1..4), 0usize..40).prop_flat_map(|(kinds, rows)| {
        let columns: Vec<_> = kinds.iter().map(|kind| vec(kind.value(), rows)).collect();
        (Just(kinds), columns)
    })
}

fn file(kinds: &[Kind], columns: &[Vec<Value>]) -> Arc<Memory> {
    let schema = Arc::new(Schema::new(fields(kinds)));
    let arrays = kinds.iter().zip(columns).map(|(kind, values)| kind.array(values)).collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(17))
        .set_data_page_row_count_limit(5)
        .set_write_batch_size(3);
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, schema, Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    Memory::new(out)
}

/// A cell as JSON, whatever its type is.
fn value(array: &dyn Array, row: usize, logical: &LogicalType) -> Value {
    match (array.data_type(), logical) {
        _ if array.is_null(row) => Value::Null,
        (DataType::Int64, _) => json!(array.as_primitive::<Int64Type>().value(row)),
        (DataType::Utf8, LogicalType::Json) => {
            serde_json::from_str(array.as_string::<i32>().value(row)).unwrap()
        }
        (DataType::Utf8, _) => json!(array.as_string::<i32>().value(row)),
        (DataType::List(_), LogicalType::List(item)) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|at| value(items.as_ref(), at, item)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn check(kinds: &[Kind], columns: &[Vec<Value>]) -> TestCaseResult {
    let memory = file(kinds, columns);
    let (mut flat, mut whole) = (Vec::new(), Vec::new());
    for (at, kind) in kinds.iter().enumerate() {
        let mut found = Vec::new();
        kind.columns(&name(at), &[], &mut found);
        flat.extend(found.into_iter().map(|(name, path)| (name, at, path)));
        whole.push((name(at), at, Vec::new()));
    }
    for (nested, expected) in [(Nested::Flatten, flat), (Nested::Json, whole)] {
        let file = memory.open().unwrap().nesting(&Nesting { nested, ..Nesting::default() });
        let names: Vec<_> = file.columns().iter().map(|column| column.name.clone()).collect();
        assert_eq!(names, expected.iter().map(|it| it.0.clone()).collect::<Vec<_>>());
        let batches = read(&file).unwrap();
        for (at, (name, column, path)) in expected.iter().enumerate() {
            let logical = &file.columns()[at].logical;
            let found = batches.iter().flat_map(|batch| {
                let array = batch.column(at);
                (0..array.len()).map(|row| value(array.as_ref(), row, logical)).collect::<Vec<_>>()
            });
            let wanted = columns[*column].iter().map(|value| {
                path.iter().fold(value, |value, part| value.get(part).unwrap_or(&Value::Null))
            });
            assert_eq!(found.collect::<Vec<_>>(), wanted.cloned().collect::<Vec<_>>(), "{name}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nested_values_read_back_as_they_were((kinds, columns) in tables()) {
        check(&kinds, &columns)?;
    }
}

fn names(file: &Arc<Memory>, nesting: &Nesting) -> Vec<String> {
    let file = file.open().unwrap().nesting(nesting);
    let columns = file.columns().iter();
    columns.map(|it| format!("{} {} {} {}", it.name, it.logical, it.nullable, it.native)).collect()
}

#[test]
fn a_field_is_null_where_its_struct_is() {
    let kinds = [Kind::Struct(vec![
        Kind::Int { required: true },
        Kind::Struct(vec![Kind::Text, Kind::Map(Box::new(Kind::Text))]),
        Kind::List(Box::new(Kind::Text)),
    ])];
    let row = json!({"f0": 1, "f1": {"f0": "x", "f1": {"k": null}}, "f2": ["y"]});
    let file = file(&kinds, &[vec![row.clone(), Value::Null, json!({"f0": 2})]]);
    let flat = [
        "f0.f0 int64 true INT64",
        "f0.f1.f0 text true BYTE_ARRAY STRING",
        "f0.f1.f1 json true MAP",
        "f0.f2 list<text> true LIST",
    ];
    assert_eq!(names(&file, &Nesting::default()), flat);
    let whole = Nesting { whole: vec!["f0".to_owned()], ..Nesting::default() };
    assert_eq!(names(&file, &whole), ["f0 json true struct"]);
    let notes = file.open().unwrap().nested(None);
    assert_eq!(
        notes,
        ["column `f0` (struct) is read as `f0.f0`, `f0.f1.f0`, `f0.f1.f1`, `f0.f2`; as JSON \
             text: `f0.f1.f1`"]
    );
    let batch = &read(&file.open().unwrap()).unwrap()[0];
    let ints = batch.column(0).as_primitive::<Int64Type>();
    assert_eq!(ints.iter().collect::<Vec<_>>(), [Some(1), None, Some(2)]);
    let texts = read(&file.open().unwrap().nesting(&whole)).unwrap();
    let texts = texts[0].column(0).as_string::<i32>();
    assert_eq!(texts.value(0), row.to_string());
    assert_eq!(texts.value(2), r#"{"f0":2,"f1":null,"f2":null}"#);
}

/// Two columns of one name would be left out: neither is.
#[test]
fn a_struct_with_a_name_that_is_taken_is_read_whole() {
    let schema = Arc::new(Schema::new(vec![
        Kind::Struct(vec![Kind::Text]).field("a"),
        Kind::Text.field("a.f0"),
    ]));
    let structs = Kind::Struct(vec![Kind::Text]).array(&[json!({"f0": "x"})]);
    let batch =
        RecordBatch::try_new(schema.clone(), vec![structs, Kind::Text.array(&[json!("y")])]);
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, schema, None).unwrap();
    writer.write(&batch.unwrap()).unwrap();
    writer.close().unwrap();
    let file = Memory::new(out);
    let columns = ["a json true struct", "a.f0 text true BYTE_ARRAY STRING"];
    assert_eq!(names(&file, &Nesting::default()), columns);
    let note = "column `a` (struct) is read as JSON text: another column is called `a.f0`";
    assert_eq!(file.open().unwrap().nested(None), [note]);
    assert_eq!(file.open().unwrap().nested(Some(&["a.f0".to_owned()])), [""; 0]);
}

/// A small file with values that share one long name must not become any amount of text.
#[test]
fn long_names_do_not_multiply_without_bound() {
    let long = "n".repeat(100_000);
    let item = DataType::Struct(vec![Field::new(&long, DataType::Int64, true)].into());
    let field = Field::new("l", DataType::List(Arc::new(Field::new("element", item, true))), true);
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let count: Range<i64> = 0..10_000;
    let DataType::List(element) = field.data_type() else { panic!("a list") };
    let DataType::Struct(of) = element.data_type() else { panic!("a struct") };
    let ints: ArrayRef = Arc::new(Int64Array::from_iter_values(count.map(|_| 1)));
    let items = Arc::new(StructArray::new(of.clone(), vec![ints], None));
    let lists = ListArray::new(element.clone(), OffsetBuffer::from_lengths([10_000]), items, None);
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(lists)]).unwrap();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let error = read(&Memory::new(out).open().unwrap()).unwrap_err();
    assert_eq!(error.code, "PARQUET-LIMIT", "{error}");
}
