//! Folders named after values: columns of the rows below, and a filter that leaves folders out.

use serde_json::json;
use transload_plugin_api::ErrorKind;
use transload_tests_s3::Faults;

use crate::place::{Place, rows, sorted};

fn fill(place: &Place) {
    for day in ["2026-10-31", "2026-11-01", "2026-11-21"] {
        for region in ["eu", "us", "__HIVE_DEFAULT_PARTITION__"] {
            let name = format!("day={day}/region={region}/x.csv");
            place.put(&name, format!("id\n{day}-{region}\n"));
        }
    }
}

#[test]
fn folders_are_columns_with_inferred_types() {
    for place in Place::all() {
        fill(&place);
        place.put("day=2026-11-21/region=a%2Fb%20c/x.csv", "id\nodd\n");
        let reader = place.reader(json!({}));
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
        // The folder that is named is where counting begins.
        let below = place.reader(json!({"path": ["day=2026-11-21/"]}));
        let names: Vec<_> = below.schema().unwrap().columns.into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["id", "region"]);
        let none = place.reader(json!({"partitions": "none"}));
        assert_eq!(none.schema().unwrap().columns.len(), 1);
    }
}

#[test]
fn a_filter_leaves_folders_out() {
    for place in Place::all() {
        fill(&place);
        for (filter, expected) in [
            (&["day >= 2026-11-01", "region in eu, us"][..], 4),
            (&["day = 2026-11-21"], 3),
            (&["region = eu"], 3),
            (&["region != eu"], 3),
        ] {
            let reader = place.reader(json!({"partition_filter": filter}));
            assert_eq!(rows(reader.as_ref(), 2).unwrap().len(), expected, "{filter:?}");
            let notes = reader.schema().unwrap().notes.join("; ");
            assert!(notes.contains("folder(s) out"), "{notes}");
        }
        let pattern = place.reader(json!({
            "path": ["day=*/**/*.csv"], "partition_filter": ["day > 2026-10-31", "region = us"],
        }));
        let expected =
            [["2026-11-01-us", "2026-11-01", "us"], ["2026-11-21-us", "2026-11-21", "us"]];
        assert_eq!(sorted(rows(pattern.as_ref(), 1).unwrap()), expected);
    }
}

#[test]
fn folders_that_are_left_out_are_not_looked_into() {
    let place = Place::s3();
    fill(&place);
    let reader = place.reader(json!({"partition_filter": ["day = 2026-11-21"]}));
    assert_eq!(reader.discover().unwrap().len(), 3);
    let faults = Faults::at(&std::env::var("TRANSLOAD_TEST_S3").unwrap());
    let seen = faults.seen("ListObjects", &place.prefix);
    let seen: Vec<_> = seen.into_iter().map(|request| request.key).collect();
    let prefix = &place.prefix;
    assert_eq!(seen, [format!("{prefix}/"), format!("{prefix}/day=2026-11-21/")]);
    let note = "`partition_filter` left 2 folder(s) out";
    assert!(reader.schema().unwrap().notes.contains(&note.to_owned()));
}

#[test]
fn filters_and_folders_that_do_not_fit_are_told() {
    let place = Place::file();
    fill(&place);
    for (filter, kind, word) in [
        ("hour = 5", ErrorKind::Options, "`hour`"),
        ("day ~ 5", ErrorKind::Options, "`day ~ 5`"),
        ("day = 1999-01-01", ErrorKind::NotFound, "3 folder(s)"),
    ] {
        let options = place.options(json!({"partition_filter": [filter]}));
        let host = crate::place::host(&[], transload_plugin_api::Cancel::new());
        use transload_plugin_api::Plugin;
        let reader = transload_plugin_object_store::ObjectStorePlugin.reader(options, host);
        let error = reader.and_then(|reader| reader.schema().map(drop)).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(word), "{error}");
    }
    place.put("hour=5/x.csv", "id\n1\n");
    let hive = place.reader(json!({"partitions": "hive"})).schema().unwrap_err();
    assert_eq!(hive.kind, ErrorKind::Schema);
    assert!(hive.message.contains("`hour`") && hive.message.contains("`day`"), "{hive}");
    let auto = place.reader(json!({})).schema().unwrap();
    assert_eq!(auto.columns.len(), 1);
    assert!(auto.notes.iter().any(|note| note.contains("`hour`")), "{:?}", auto.notes);
}
