//! Folders named after values: columns of the rows below, and a filter that skips folders.

use serde_json::json;
use transload_plugin_api::ErrorKind;
use transload_tests_s3::Faults;

use crate::host::{Reading, rows, sorted};
use transload_tests_buckets::Bucket;

fn fill(bucket: &Bucket) {
    for day in ["2026-10-31", "2026-11-01", "2026-11-21"] {
        for region in ["eu", "us", "__HIVE_DEFAULT_PARTITION__"] {
            let name = format!("day={day}/region={region}/x.csv");
            bucket.put(&name, format!("id\n{day}-{region}\n"));
        }
    }
}

#[test]
fn folders_are_columns_with_inferred_types() {
    for bucket in Bucket::all() {
        fill(&bucket);
        bucket.put("day=2026-11-21/region=a%2Fb%20c/x.csv", "id\nodd\n");
        let reader = bucket.reader(json!({}));
        let columns = reader.schema().unwrap().columns;
        let types: Vec<_> =
            columns.iter().map(|it| format!("{} {}", it.name, it.logical)).collect();
        assert_eq!(types, ["id text", "day date", "region text"]);
        let found = rows(reader.as_ref(), 4).unwrap();
        assert_eq!(found.len(), 10);
        let has = |row: [&str; 3]| found.contains(&row.map(str::to_owned).to_vec());
        assert!(has(["2026-11-01-eu", "2026-11-01", "eu"]), "{found:?}");
        assert!(has(["odd", "2026-11-21", "a/b c"]), "{found:?}");
        let null = "2026-10-31-__HIVE_DEFAULT_PARTITION__";
        assert!(has([null, "2026-10-31", "NULL"]), "{found:?}");
        // Partition columns begin below the given folder.
        let below = bucket.reader(json!({"path": ["day=2026-11-21/"]}));
        let names: Vec<_> = below.schema().unwrap().columns.into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["id", "region"]);
        let none = bucket.reader(json!({"partitions": "none"}));
        assert_eq!(none.schema().unwrap().columns.len(), 1);
    }
}

#[test]
fn a_filter_leaves_folders_out() {
    for bucket in Bucket::all() {
        fill(&bucket);
        for (filter, expected) in [
            (&["day >= 2026-11-01", "region in eu, us"][..], 4),
            (&["day = 2026-11-21"], 3),
            (&["region = eu"], 3),
            (&["region != eu"], 3),
        ] {
            let reader = bucket.reader(json!({"partition_filter": filter}));
            assert_eq!(rows(reader.as_ref(), 2).unwrap().len(), expected, "{filter:?}");
            let notes = reader.schema().unwrap().notes.join("; ");
            assert!(notes.contains("folder(s) out"), "{notes}");
        }
        let pattern = bucket.reader(json!({
            "path": ["day=*/**/*.csv"], "partition_filter": ["day > 2026-10-31", "region = us"],
        }));
        let expected =
            [["2026-11-01-us", "2026-11-01", "us"], ["2026-11-21-us", "2026-11-21", "us"]];
        assert_eq!(sorted(rows(pattern.as_ref(), 1).unwrap()), expected);
    }
}

#[test]
fn folders_that_are_left_out_are_not_looked_into() {
    let bucket = Bucket::s3();
    fill(&bucket);
    let reader = bucket.reader(json!({"partition_filter": ["day = 2026-11-21"]}));
    assert_eq!(reader.discover().unwrap().len(), 3);
    let faults = Faults::at(&std::env::var("TRANSLOAD_TEST_S3").unwrap());
    let seen = faults.seen("ListObjects", &bucket.prefix);
    let seen: Vec<_> = seen.into_iter().map(|request| request.key).collect();
    let prefix = &bucket.prefix;
    assert_eq!(seen, [format!("{prefix}/"), format!("{prefix}/day=2026-11-21/")]);
    let note = "`partition_filter` left 2 folder(s) out";
    assert!(reader.schema().unwrap().notes.contains(&note.to_owned()));
}

#[test]
fn filters_and_folders_that_do_not_fit_are_told() {
    let bucket = Bucket::folder();
    fill(&bucket);
    for (filter, kind, word) in [
        ("hour = 5", ErrorKind::Options, "`hour`"),
        ("day ~ 5", ErrorKind::Options, "`day ~ 5`"),
        ("day = 1999-01-01", ErrorKind::NotFound, "3 folder(s)"),
    ] {
        let options = bucket.options(json!({"partition_filter": [filter]}));
        let host = crate::host::host(&[]);
        use transload_plugin_api::Plugin;
        let reader = transload_plugin_object_store::ObjectStorePlugin.reader(options, host);
        let error = reader.and_then(|reader| reader.schema().map(drop)).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(word), "{error}");
    }
    bucket.put("hour=5/x.csv", "id\n1\n");
    let hive = bucket.reader(json!({"partitions": "hive"})).schema().unwrap_err();
    assert_eq!(hive.kind, ErrorKind::Schema);
    assert!(hive.message.contains("`hour`") && hive.message.contains("`day`"), "{hive}");
    let auto = bucket.reader(json!({})).schema().unwrap();
    assert_eq!(auto.columns.len(), 1);
    assert!(auto.notes.iter().any(|note| note.contains("`hour`")), "{:?}", auto.notes);
}
