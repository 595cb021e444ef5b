//! Files that the plan did not sample: their task names what differs from the plan.

use transload_plugin_api::{Error, ErrorKind, LogicalType, Reader};

use crate::{
    parquet::file,
    shelf::{Shelf, count, splits},
};

/// This many files are sampled before a run.
const SAMPLED: usize = 16;

/// The error of the tasks of 17 files; the last one has these columns.
fn last_has(columns: &[(&str, LogicalType)]) -> Error {
    let usual = file(&[("id", LogicalType::Int64), ("name", LogicalType::TEXT)]);
    let files = (0..SAMPLED).map(|number| (format!("{number:02}.parquet"), usual.clone()));
    let shelf = Shelf::new(files.chain([("odd.parquet".to_owned(), file(columns))]));
    let reader = shelf.reader(&[]);
    let (columns, splits) = splits(&reader, 32);
    let read = |split| reader.open(split, &columns, None).and_then(count);
    let (odd, usual) = splits.split_last().unwrap();
    assert!(!usual.is_empty() && usual.iter().all(|split| read(split).is_ok()));
    read(odd).unwrap_err()
}

#[test]
fn a_parquet_file_with_other_columns_is_told_by_name() {
    use LogicalType::Int64;
    let (id, name) = (("id", Int64), ("name", LogicalType::TEXT));
    for (columns, words) in [
        (&[id.clone(), name.clone(), ("more", Int64)][..], "`more`"),
        (std::slice::from_ref(&id), "`name`"),
        (&[id.clone(), ("nom", LogicalType::TEXT)], "`name`"),
        (&[id.clone(), ("name", Int64)], "`name`"),
        (&[("id", LogicalType::TEXT), name.clone()], "`id`"),
    ] {
        let error = last_has(columns);
        assert_eq!(error.kind, ErrorKind::Schema, "{columns:?}: {error}");
        assert!(error.message.contains(words), "{columns:?}: {error}");
        assert!(error.place.as_deref().unwrap().contains("odd.parquet"), "{columns:?}: {error}");
    }
}

#[test]
fn a_parquet_file_with_the_columns_in_another_order_is_read() {
    let usual = file(&[("id", LogicalType::Int64), ("name", LogicalType::TEXT)]);
    let turned = file(&[("name", LogicalType::TEXT), ("id", LogicalType::Int64)]);
    let files = (0..SAMPLED).map(|number| (format!("{number:02}.parquet"), usual.clone()));
    let shelf = Shelf::new(files.chain([("turned.parquet".to_owned(), turned)]));
    let reader = shelf.reader(&[]);
    let (columns, splits) = splits(&reader, 1);
    let rows = count(reader.open(&splits[0], &columns, None).unwrap()).unwrap();
    assert_eq!(rows, SAMPLED + 1);
}
