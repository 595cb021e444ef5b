//! Which objects a path selects.

use serde_json::json;
use transload_plugin_api::ErrorKind;
use transload_tests_s3::{Fault, Faults, Rule};

use crate::host::{Reading, rows};
use transload_tests_buckets::Bucket;

const ONE: &str = "a\n1\n";

#[test]
fn keys_folders_and_patterns_become_one_sorted_list() {
    for bucket in Bucket::all() {
        let names = ["b.csv", "a.csv", "sub/c.csv", "sub/deep/d.csv", "sub/e.txt"];
        let hidden = [".h.csv", "_m.json", "_tmp/x.csv", "sub/_x/y.csv", "sub/.z/y.csv"];
        bucket.put_all(names.into_iter().chain(hidden).map(str::to_owned), ONE);
        let listed = |paths: &[&str]| {
            bucket.listed(json!({"path": paths, "format": "csv"})).unwrap_or_else(|error| {
                panic!("{} {paths:?}: {error:?}", bucket.url);
            })
        };
        assert_eq!(listed(&[""]), ["a.csv", "b.csv", "sub/c.csv", "sub/deep/d.csv", "sub/e.txt"]);
        assert_eq!(listed(&["sub/"]), ["sub/c.csv", "sub/deep/d.csv", "sub/e.txt"]);
        assert_eq!(listed(&["sub"]), ["sub/c.csv", "sub/deep/d.csv", "sub/e.txt"]);
        assert_eq!(listed(&["*.csv"]), ["a.csv", "b.csv"]);
        assert_eq!(listed(&["b.csv", "?.csv"]), ["b.csv", "a.csv"]);
        assert_eq!(listed(&["**/*.csv"]), ["a.csv", "b.csv", "sub/c.csv", "sub/deep/d.csv"]);
        assert_eq!(listed(&["s*/[cd].csv"]), ["sub/c.csv"]);
        assert_eq!(listed(&["sub/d*/*"]), ["sub/deep/d.csv"]);
        assert_eq!(listed(&["_tmp/*", ".h.csv"]), ["_tmp/x.csv", ".h.csv"]);
    }
}

#[test]
fn what_stands_for_nothing_is_not_found() {
    for bucket in Bucket::all() {
        bucket.put("a.csv", ONE);
        bucket.put("_hidden/x.csv", ONE);
        for path in ["b.csv", "a.csv/", "*.json", "_hidden/*.json", "hidden/"] {
            let error = bucket.listed(json!({"path": ["a.csv", path]})).unwrap_err();
            assert_eq!(error.kind, ErrorKind::NotFound, "{} {path}: {error}", bucket.url);
            assert!(error.message.contains(path), "{error}");
        }
        for path in ["[", "a**", "/a.csv", "s3://other/a.csv"] {
            let error = bucket.listed(json!({"path": [path]})).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options, "{} {path}: {error}", bucket.url);
        }
    }
}

#[test]
fn odd_keys_address_the_very_object_that_the_listing_named() {
    let names = [
        "a b.csv",
        "100%.csv",
        "%41.csv",
        "A.csv",
        "k=v.csv",
        "a+b.csv",
        "ü é.csv",
        "表.csv",
        "q?.csv",
        "h#x.csv",
        "br[1].csv",
        "1.csv",
        "am&p;.csv",
        "quo'te\".csv",
        "~t.csv",
        "semi;colon,comma.csv",
        "back\\slash.csv",
        "%2Fx/y%20z.csv",
        "<x>.csv",
    ];
    for bucket in Bucket::all() {
        // Azure treats a backslash as a slash.
        let of_azure = |name: &&str| !bucket.url.starts_with("az") || !name.contains('\\');
        let names: Vec<_> = names.into_iter().filter(of_azure).collect();
        for name in &names {
            bucket.put(name, format!("name\n\"{}\"\n", name.replace('"', "\"\"")));
        }
        let mut expected = names.clone();
        expected.sort_unstable();
        assert_eq!(bucket.listed(json!({})).unwrap(), expected, "{}", bucket.url);
        let found = rows(bucket.reader(json!({})).as_ref(), 1).unwrap().concat();
        assert_eq!(found, expected, "{}", bucket.url);
        for name in names {
            let reader = bucket.reader(json!({"path": [name]}));
            assert_eq!(rows(reader.as_ref(), 1).unwrap(), [[name]], "{} {name}", bucket.url);
        }
    }
}

#[test]
fn markers_of_folders_are_no_objects() {
    let bucket = Bucket::s3();
    bucket.put("sub/a.csv", ONE);
    bucket.put("empty.csv", "");
    bucket.put_raw("sub/", "");
    bucket.put_raw("nothing/", "");
    assert_eq!(bucket.listed(json!({})).unwrap(), ["empty.csv", "sub/a.csv"]);
    assert_eq!(bucket.listed(json!({"path": ["sub/"]})).unwrap(), ["sub/a.csv"]);
    let error = bucket.listed(json!({"path": ["nothing/"]})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
}

#[test]
fn a_key_that_cannot_be_addressed_is_named() {
    let bucket = Bucket::s3();
    bucket.put("c.csv", ONE);
    bucket.put_raw("a//b.csv", ONE);
    let error = bucket.listed(json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error:?}");
    assert!(error.message.contains("a//b.csv"), "{error}");
    assert_eq!(bucket.listed(json!({"path": ["c*"]})).unwrap(), ["c.csv"]);
}

#[test]
fn the_url_itself_may_be_an_object() {
    for bucket in Bucket::all() {
        bucket.put("a.csv", ONE);
        let whole = format!("{}/a.csv", bucket.url);
        let reader = bucket.reader(json!({"url": whole}));
        assert_eq!(rows(reader.as_ref(), 1).unwrap(), [["1"]]);
    }
}

#[test]
fn t58_ten_thousand_objects_are_listed_page_by_page() {
    let bucket = Bucket::s3();
    bucket.put_all((0..10_000).map(|number| format!("many/{number:05}.csv")), ONE);
    bucket.put("other/x.csv", ONE);
    let faults = Faults::at(&std::env::var("TRANSLOAD_TEST_S3").unwrap());
    let pages = faults
        .arm(Rule::on("ListObjects").key(&format!("{}/many/", bucket.prefix)), Fault::Pages(700));
    let names = bucket.listed(json!({"path": ["many/"]})).unwrap();
    assert_eq!(names.len(), 10_000);
    assert_eq!((names[0].as_str(), names[9_999].as_str()), ("many/00000.csv", "many/09999.csv"));
    assert_eq!(pages.hits(), 15);
    let narrow = bucket.listed(json!({"path": ["many/0123*.csv"]})).unwrap();
    assert_eq!(narrow.len(), 10);
    // No request went beyond the literal part of the pattern.
    assert_eq!(faults.seen("ListObjects", &format!("{}/many/0123", bucket.prefix)).len(), 1);
}

#[test]
fn a_folder_is_left_by_no_link_and_waits_for_no_pipe() {
    let bucket = Bucket::folder();
    bucket.put("a/x.csv", "id\n1\n");
    let link = |name: &str, to: &std::path::Path| {
        std::os::unix::fs::symlink(to, bucket.file(name)).unwrap();
    };
    link("near", "a".as_ref());
    assert_eq!(bucket.listed(json!({})).unwrap(), ["a/x.csv", "near/x.csv"]);
    // What is neither a file nor a folder is no object.
    let pipe = bucket.file("p.csv");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(bucket.listed(json!({})).unwrap(), ["a/x.csv", "near/x.csv"]);
    let error = bucket.listed(json!({"path": ["p.csv"]})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    assert!(error.message.contains("neither a file nor a folder"), "{error}");
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("x.csv"), "id\n7\n").unwrap();
    for (name, to) in [("far", elsewhere.path()), ("b.csv", &elsewhere.path().join("x.csv"))] {
        link(name, to);
        for path in ["", "**/*.csv", "*"] {
            let outcome = bucket.listed(json!({"path": [path]}));
            assert_eq!(outcome.unwrap_err().code, "FILE-LINK", "{name} {path:?}");
        }
        std::fs::remove_file(bucket.file(name)).unwrap();
    }
    link("_far", elsewhere.path());
    assert_eq!(bucket.listed(json!({})).unwrap().len(), 2, "it is hidden");
    // A link that takes the place of a listed object.
    let reader = bucket.reader(json!({"path": ["a/x.csv"]}));
    reader.schema().unwrap();
    std::fs::remove_file(bucket.file("a/x.csv")).unwrap();
    link("a/x.csv", &elsewhere.path().join("x.csv"));
    let error = crate::host::rows(&*reader, 1).unwrap_err();
    assert!(["FILE-LINK", "FILE-CHANGED"].contains(&error.code.as_str()), "{error}");
}

#[test]
fn a_missing_object_is_told_with_the_nearest_name() {
    for bucket in Bucket::all() {
        for name in ["in/orders.csv", "in/customers.csv", "in/_hidden.csv"] {
            bucket.put(name, "a\n1\n");
        }
        let hint = |path: &str| {
            let error = bucket.reader(json!({"path": [path]})).schema().unwrap_err();
            assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
            error.hint.unwrap()
        };
        assert_eq!(hint("in/order.csv"), "did you mean `orders.csv`?", "{}", bucket.url);
        assert_eq!(hint("in/x"), "its folder has: customers.csv, orders.csv", "{}", bucket.url);
        let nothing = hint("in/*.json");
        assert!(nothing.contains("relative to `url`"), "{nothing}");
    }
}
