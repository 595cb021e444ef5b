//! Links in folders that others may write to: nothing outside the job's folder is read, replaced or
//! removed, and what refuses them says what to do.

use std::{fs, os::unix::fs::symlink, path::Path};

use arrow_array::RecordBatch;
use serde_json::{Value, json};
use tempfile::tempdir;
use transload_plugin_api::{Column, ErrorKind, Result, WriteMode};

use crate::host::{batch, columns, names, plan, row, write, writer, writing};

fn two_columns() -> Vec<Column> {
    columns(&[("id", "int64"), ("p", "text")])
}

fn rows(values: &[&str]) -> RecordBatch {
    let rows: Vec<_> = values.iter().map(|value| row(&["1", value])).collect();
    batch(&two_columns(), &rows)
}

fn options(more: Value) -> Value {
    let mut options = json!({"layout": "folder", "format": "csv", "success_marker": false});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

fn job(out: &Path, run: &str, mode: WriteMode, values: &[&str], more: Value) -> Result<()> {
    let plan = plan(run, &two_columns(), mode);
    let written = write(writing(out, options(more.clone())), &plan, &[vec![rows(values)]]);
    if written.is_err() {
        // As the host does; a folder that cannot be staged in has nothing to clean up.
        let _ = writer(writing(out, options(more))).abort(&plan, &[]);
    }
    written.map(drop)
}

#[test]
fn no_file_is_written_through_a_link_that_leads_out() {
    let folder = tempdir().unwrap();
    let (out, elsewhere) = (folder.path().join("out"), folder.path().join("elsewhere"));
    fs::create_dir_all(out.join("p=in")).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, out.join("p=con")).unwrap();
    symlink("p=in", out.join("p=near")).unwrap();
    let more = || json!({"partition_by": ["p"], "if_exists": "append"});
    let error = job(&out, "r1", WriteMode::Insert, &["a", "con"], more()).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Denied, "FILE-LINK"), "{error}");
    assert_eq!(names(&elsewhere), Vec::<String>::new());
    // No file of the run stays.
    assert_eq!(names(&out), ["p=con", "p=in", "p=near"]);
    job(&out, "r2", WriteMode::Insert, &["near"], more()).unwrap();
    assert_eq!(names(&out.join("p=in")).len(), 1, "inside the folder it is followed");
}

#[test]
fn a_manifest_does_not_name_what_to_remove_elsewhere() {
    let folder = tempdir().unwrap();
    let (out, elsewhere) = (folder.path().join("out"), folder.path().join("elsewhere"));
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("precious.csv"), "precious").unwrap();
    job(&out, "r1", WriteMode::Insert, &["a"], json!({})).unwrap();
    fs::create_dir(out.join("own")).unwrap();
    fs::write(out.join("own/precious.csv"), "precious").unwrap();
    symlink(&elsewhere, out.join("link")).unwrap();
    symlink("own", out.join("near")).unwrap();
    let manifest = out.join("_transload_manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let before = names(&out);
    for planted in ["link/precious.csv", "near/precious.csv"] {
        let planted = text.replace("part-r1-00000-00000.csv", planted);
        fs::write(&manifest, &planted).unwrap();
        let error = job(&out, "r2", WriteMode::Overwrite, &["b"], json!({})).unwrap_err();
        assert_eq!(error.code, "FILE-LINK", "{error}");
        assert!(error.hint.is_some());
        assert_eq!(fs::read_to_string(elsewhere.join("precious.csv")).unwrap(), "precious");
        assert_eq!(fs::read_to_string(out.join("own/precious.csv")).unwrap(), "precious");
        assert_eq!(names(&out), before, "no file of the run stays");
    }
    // A link that the manifest names is removed itself.
    symlink(elsewhere.join("precious.csv"), out.join("x.csv")).unwrap();
    fs::write(&manifest, text.replace("part-r1-00000-00000.csv", "x.csv")).unwrap();
    job(&out, "r3", WriteMode::Overwrite, &["b"], json!({})).unwrap();
    assert!(fs::symlink_metadata(out.join("x.csv")).is_err());
    assert!(elsewhere.join("precious.csv").exists());
}

#[test]
fn what_a_run_keeps_is_not_staged_elsewhere() {
    for planted in ["_transload", "_transload_manifest.json"] {
        let folder = tempdir().unwrap();
        let (out, elsewhere) = (folder.path().join("out"), folder.path().join("elsewhere"));
        fs::create_dir(&out).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, out.join(planted)).unwrap();
        let error = job(&out, "r1", WriteMode::Insert, &["a"], json!({})).unwrap_err();
        assert_eq!(error.code, "FILE-LINK", "{error:?}");
        assert_eq!(names(&elsewhere), Vec::<String>::new(), "{planted}");
        assert_eq!(names(&out), [planted]);
    }
}

#[test]
fn a_pipe_in_the_place_of_a_note_does_not_hold_the_run_up() {
    let folder = tempdir().unwrap();
    let pipe = folder.path().join("_transload_manifest.json");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let insert = plan("r1", &two_columns(), WriteMode::Insert);
    let error = writer(writing(folder.path(), options(json!({})))).draft(&insert).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
}
