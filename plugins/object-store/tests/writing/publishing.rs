//! What the writer leaves behind: the expected objects after a commit, nothing in all other cases.

use std::{path::PathBuf, process::Command};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use transload_plugin_api::{
    ChunkOutcome, Counters, ErrorKind, Guarantee, Plugin, Position, Result, TaskContext, WriteMode,
    WritePlan,
};
use transload_tests_buckets::{Bucket, Kind};

use crate::host::{chunk, ids, plan, rows, two_columns, write, write_task, writer};

fn csv(more: Value) -> Value {
    let mut options = json!({"path": "out/", "format": "csv"});
    let Value::Object(more) = more else { panic!("an object") };
    options.as_object_mut().unwrap().extend(more);
    options
}

/// Writes each list of ids with one task.
fn job(bucket: &Bucket, run: &str, mode: WriteMode, tasks: &[&[i64]], more: Value) -> Result<()> {
    let tasks: Vec<_> = tasks.iter().map(|ids| vec![rows(ids.iter().copied())]).collect();
    assert_eq!(write(bucket, csv(more), &plan(run, &two_columns(), mode), &tasks)?, []);
    Ok(())
}

fn manifest(bucket: &Bucket) -> Value {
    serde_json::from_slice(&bucket.get("out/_transload_manifest.json")).unwrap()
}

#[test]
fn objects_and_a_manifest_are_published() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        job(&bucket, "r-1", WriteMode::Insert, &[&[1, 2], &[], &[3]], json!({})).unwrap();
        let expected = [
            "out/_SUCCESS",
            "out/_transload_manifest.json",
            "out/part-r-1-00000-00000.csv",
            "out/part-r-1-00002-00000.csv",
        ];
        assert_eq!(bucket.names(), expected, "{kind:?}");
        assert_eq!(bucket.text(expected[2]), "id,name\n1,x\n2,x\n");
        assert_eq!(bucket.text(expected[3]), "id,name\n3,x\n");
        let manifest = manifest(&bucket);
        let file = &manifest["files"][0];
        assert_eq!((&manifest["run"], &file["run"]), (&json!("r-1"), &json!("r-1")));
        assert_eq!(file["name"], json!("part-r-1-00000-00000.csv"));
        assert_eq!((&file["rows"], &file["size"]), (&json!(2), &json!(16)));
        let hash = Sha256::digest(bucket.get(expected[2]));
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(file["sha256"], json!(hash));
        assert_ne!(file["etag"], json!(""));
        let token = file["token"].as_str().unwrap();
        assert!(token.starts_with("r-1/0/0/"), "{token}");
        match kind {
            Kind::Folder => {}
            Kind::S3 | Kind::Google => {
                assert_eq!(bucket.metadata(expected[2])["transload-token"], token)
            }
            Kind::Azure => assert_eq!(bucket.metadata(expected[2])["transload_token"], token),
        }
    }
}

#[test]
fn one_object_is_written_whole_or_not_at_all() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let options = json!({"path": "out/x.jsonl"});
        let insert = plan("r-1", &two_columns(), WriteMode::Insert);
        write(&bucket, options.clone(), &insert, &[vec![rows(1..3), rows(3..4)]]).unwrap();
        assert_eq!(bucket.names(), ["out/x.jsonl"], "{kind:?}");
        assert_eq!(ids(&bucket), [1, 2, 3]);
        let draft = writer(&bucket, options.clone())
            .draft(&plan("r-2", &two_columns(), WriteMode::Overwrite))
            .unwrap();
        assert_eq!(draft.guarantee, Guarantee::AtomicJob);
        assert!(draft.statements[0].destructive, "{draft:?}");
        let error =
            write(&bucket, options.clone(), &plan("r-2", &two_columns(), WriteMode::Insert), &[])
                .unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Exists, "FILE-EXISTS"));
        let overwrite = plan("r-2", &two_columns(), WriteMode::Overwrite);
        write(&bucket, options, &overwrite, &[vec![rows(7..8)]]).unwrap();
        assert_eq!((ids(&bucket), bucket.names().len()), (vec![7], 1));
    }
}

#[test]
fn t56_empty_input_gives_a_header_or_nothing() {
    for kind in Kind::ALL {
        for tasks in [&[][..], &[&[][..]], &[&[], &[]]] {
            let bucket = Bucket::new(kind);
            job(&bucket, "r-1", WriteMode::Insert, tasks, json!({})).unwrap();
            assert_eq!(bucket.text("out/part-r-1-00000-00000.csv"), "id,name\n");
            assert_eq!(manifest(&bucket)["files"].as_array().unwrap().len(), 1);
            let bucket = Bucket::new(kind);
            job(&bucket, "r-1", WriteMode::Insert, tasks, json!({"empty": "none"})).unwrap();
            assert_eq!(bucket.names(), ["out/_SUCCESS", "out/_transload_manifest.json"]);
        }
        let bucket = Bucket::new(kind);
        let insert = plan("r-1", &two_columns(), WriteMode::Insert);
        write(&bucket, json!({"path": "x.json", "empty": "none"}), &insert, &[vec![]]).unwrap();
        assert_eq!(bucket.text("x.json"), "[\n]\n", "one object is asked for, so it is there");
    }
}

#[test]
fn t56_nothing_is_visible_before_the_commit_and_nothing_stays_after_an_abort() {
    for kind in Kind::ALL {
        for options in [csv(json!({})), json!({"path": "out/x.csv"})] {
            let bucket = Bucket::new(kind);
            let plan = plan("r-1", &two_columns(), WriteMode::Insert);
            let writer = writer(&bucket, options);
            writer.prepare(&plan).unwrap();
            let (receipt, _) = write_task(&*writer, &plan, 0, &[rows(0..10)]).unwrap();
            // A task in the middle of a chunk is dropped, as after a panic.
            let mut task = writer.open(&plan, &TaskContext { task: 1, epoch: 0 }).unwrap();
            chunk(&mut *task, &rows(0..10));
            task.begin_chunk(1).unwrap();
            task.write(&rows(0..10)).unwrap();
            drop(task);
            assert_eq!(bucket.data(), Vec::<String>::new(), "{kind:?}");
            if kind != Kind::Azure {
                assert_eq!(bucket.uploads(), 1, "the finished task's own");
            }
            writer.abort(&plan, std::slice::from_ref(&receipt)).unwrap();
            writer.abort(&plan, &[receipt]).unwrap();
            assert_eq!(bucket.names(), Vec::<String>::new());
            assert_eq!(bucket.uploads(), 0);
        }
    }
}

#[test]
fn t56_another_process_removes_what_a_killed_one_has_begun() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let plan = plan("r-1", &two_columns(), WriteMode::Insert);
        let killed = writer(&bucket, csv(json!({"part_size": 5 << 20})));
        killed.prepare(&plan).unwrap();
        let mut task = killed.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
        let long = "z".repeat(100);
        let big: Vec<_> = (0..70_000).map(|id| vec![id.to_string(), long.clone()]).collect();
        chunk(&mut *task, &crate::host::batch(&two_columns(), &big));
        // Without drop or abort.
        std::mem::forget(task);
        if kind != Kind::Azure {
            assert_eq!(bucket.uploads(), 1);
        }
        let other = writer(&bucket, csv(json!({})));
        let draft = other.draft(&WritePlan { run: "r-2".to_owned(), ..plan.clone() }).unwrap();
        assert!(
            draft.warnings.iter().any(|it| it.contains("r-1") && it.contains("1 upload")),
            "{draft:?}"
        );
        other.abort(&plan, &[]).unwrap();
        assert_eq!((bucket.names(), bucket.uploads()), (Vec::new(), 0), "{kind:?}");
    }
}

#[test]
fn t45_an_overwrite_removes_what_the_manifest_names_and_no_more() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        job(&bucket, "r-1", WriteMode::Overwrite, &[&[1], &[2, 3]], json!({})).unwrap();
        let foreign =
            ["out/notes.txt", "out/part-r-1-00000-000000.csv", "out-2/x.csv", "out123", "out/a/x"];
        foreign.iter().for_each(|name| bucket.put(name, "theirs\n"));
        let draft = writer(&bucket, csv(json!({})))
            .draft(&plan("r-2", &two_columns(), WriteMode::Overwrite))
            .unwrap();
        let removed = draft.statements.iter().filter(|step| step.destructive).count();
        assert_eq!((removed, draft.statements.len()), (2, 2), "{draft:?}");
        assert!(draft.warnings.iter().any(|it| it.starts_with("3 file(s)")), "{draft:?}");
        assert_eq!(draft.guarantee, Guarantee::AtomicUnit);
        assert!(draft.because.contains("one by one"));
        job(&bucket, "r-2", WriteMode::Overwrite, &[&[4], &[]], json!({})).unwrap();
        let mut expected =
            vec!["out/_SUCCESS", "out/_transload_manifest.json", "out/part-r-2-00000-00000.csv"];
        expected.extend(foreign);
        expected.sort_unstable();
        assert_eq!(bucket.names(), expected, "{kind:?}");
    }
}

#[test]
fn t45_an_overwritten_prefix_ends_at_its_slash() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        for name in ["abc/1.csv", "abc/d/2.csv", "abc/_hidden", "abc123/x.csv", "abc.csv"] {
            bucket.put(name, "theirs\n");
        }
        let options = json!({"path": "abc/", "format": "csv", "overwrite": "prefix"});
        let overwrite = plan("r-1", &two_columns(), WriteMode::Overwrite);
        let draft = writer(&bucket, options.clone()).draft(&overwrite).unwrap();
        let steps: Vec<_> = draft.statements.iter().map(|step| step.text.clone()).collect();
        assert_eq!(steps.len(), 3, "{steps:?}");
        assert!(steps.iter().all(|step| step.contains("/abc/")), "{steps:?}");
        // Objects that appear during the run are not in the plan, so they stay.
        let writer = writer(&bucket, options);
        writer.prepare(&overwrite).unwrap();
        let (receipt, _) = write_task(&*writer, &overwrite, 0, &[rows(1..2)]).unwrap();
        bucket.put("abc/late.csv", "theirs\n");
        assert_eq!(writer.commit(&overwrite, &[receipt]).unwrap(), ChunkOutcome::Committed);
        writer.finalise(&overwrite).unwrap();
        let expected = [
            "abc.csv",
            "abc/_SUCCESS",
            "abc/_transload_manifest.json",
            "abc/late.csv",
            "abc/part-r-1-00000-00000.csv",
            "abc123/x.csv",
        ];
        assert_eq!(bucket.names(), expected, "{kind:?}");
    }
}

#[test]
fn a_long_plan_names_some_and_counts_all() {
    let bucket = Bucket::new(Kind::Folder);
    (0..30).for_each(|number| bucket.put(&format!("abc/{number:02}"), "x"));
    let options = json!({"path": "abc/", "format": "csv", "overwrite": "prefix"});
    let overwrite = plan("r-1", &two_columns(), WriteMode::Overwrite);
    let draft = writer(&bucket, options).draft(&overwrite).unwrap();
    assert_eq!(draft.statements.len(), 21);
    assert_eq!(draft.statements[20].text, "remove 10 more, 30 objects in all");
}

#[test]
fn an_insert_finds_data_and_refuses_or_adds() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let append = json!({"if_exists": "append", "compression": "none"});
        job(&bucket, "r-1", WriteMode::Insert, &[&[1], &[2]], append.clone()).unwrap();
        job(&bucket, "r-2", WriteMode::Insert, &[&[3]], append.clone()).unwrap();
        assert_eq!(ids(&bucket), [1, 2, 3], "{kind:?}");
        assert_eq!(manifest(&bucket)["files"].as_array().unwrap().len(), 3);
        let error = job(&bucket, "r-3", WriteMode::Insert, &[&[4]], json!({})).unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Exists, "FILE-EXISTS"));
        // An overwrite removes the objects of all earlier runs.
        job(&bucket, "r-4", WriteMode::Overwrite, &[&[9]], json!({})).unwrap();
        assert_eq!(ids(&bucket), [9]);
        // An object of another program counts as data, a hidden one does not.
        let bucket = Bucket::new(kind);
        bucket.put("out/_marker", "");
        bucket.put("out/.hidden/x", "");
        writer(&bucket, csv(json!({})))
            .draft(&plan("r", &two_columns(), WriteMode::Insert))
            .unwrap();
        bucket.put("out/sub/x.csv", "");
        let draft =
            writer(&bucket, csv(json!({}))).draft(&plan("r", &two_columns(), WriteMode::Insert));
        assert_eq!(draft.unwrap_err().kind, ErrorKind::Exists);
    }
}

#[test]
fn two_runs_at_once_are_noticed() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let more = csv(json!({"if_exists": "append"}));
        let (one, two) = (writer(&bucket, more.clone()), writer(&bucket, more));
        let [first, second] =
            ["r-1", "r-2"].map(|run| plan(run, &two_columns(), WriteMode::Insert));
        one.prepare(&first).unwrap();
        two.prepare(&second).unwrap();
        let a = write_task(&*one, &first, 0, &[rows(1..2)]).unwrap().0;
        let b = write_task(&*two, &second, 0, &[rows(2..3)]).unwrap().0;
        one.commit(&first, &[a]).unwrap();
        let refused = two.commit(&second, std::slice::from_ref(&b)).unwrap_err();
        assert_eq!((refused.kind, refused.code.as_str()), (ErrorKind::Exists, "FILE-CHANGED"));
        two.abort(&second, &[b]).unwrap();
        one.finalise(&first).unwrap();
        assert_eq!((ids(&bucket), bucket.uploads()), (vec![1], 0), "{kind:?}");
    }
}

#[test]
fn a_chunk_that_is_rolled_back_leaves_no_trace() {
    for kind in Kind::ALL {
        for name in ["x.csv", "x.jsonl", "x.csv.gz"] {
            let bucket = Bucket::new(kind);
            let plan = plan("r-1", &two_columns(), WriteMode::Insert);
            let writer = writer(&bucket, json!({"path": name, "part_size": 5 << 20}));
            writer.prepare(&plan).unwrap();
            let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
            for (ids, keep) in
                [(0..0, false), (1..3, false), (1..3, true), (3..5, false), (3..4, true)]
            {
                task.rollback_chunk().unwrap();
                task.begin_chunk(0).unwrap();
                task.write(&rows(ids)).unwrap();
                if keep {
                    task.commit_chunk(&Position::default(), &Counters::default()).unwrap();
                } else {
                    task.write(&rows(1000..9000)).unwrap();
                    task.rollback_chunk().unwrap();
                }
            }
            // An open chunk at the end is discarded.
            task.begin_chunk(9).unwrap();
            task.write(&rows(1000..9000)).unwrap();
            let receipt = task.finish().unwrap();
            writer.commit(&plan, &[receipt]).unwrap();
            writer.finalise(&plan).unwrap();
            if name == "x.csv.gz" {
                use std::io::Read;
                let mut text = String::new();
                let stored = bucket.get(name);
                let kind = transload_formats::Compression::Gzip;
                kind.reader(&*stored).unwrap().read_to_string(&mut text).unwrap();
                assert_eq!(text, "id,name\n1,x\n2,x\n3,x\n");
            } else {
                assert_eq!(ids(&bucket), [1, 2, 3], "{kind:?} {name}");
            }
        }
    }
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is_touched() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let draft = |more: Value, plan: &WritePlan| {
            let made = transload_plugin_object_store::ObjectStorePlugin
                .writer(bucket.options(more), bucket.host());
            made.and_then(|writer| writer.draft(plan)).map_err(|error| error.kind)
        };
        let insert = plan("r-1", &two_columns(), WriteMode::Insert);
        let overwrite = plan("r-1", &two_columns(), WriteMode::Overwrite);
        for mode in [WriteMode::Upsert, WriteMode::Ignore, WriteMode::Replace] {
            let plan = plan("r-1", &two_columns(), mode);
            assert_eq!(draft(csv(json!({})), &plan), Err(ErrorKind::Unsupported));
        }
        for (more, plan) in [
            (json!({"path": "out/"}), &insert),
            (json!({"path": "../x.csv"}), &insert),
            (json!({"path": "a//x.csv"}), &insert),
            (csv(json!({"name": "x-{oops}-{number}"})), &insert),
            (csv(json!({"name": "../{run}-{task}-{number}"})), &insert),
            (csv(json!({"name": "x.csv", "if_exists": "append"})), &insert),
            (csv(json!({"name": "x.csv", "max_rows_per_object": 5})), &insert),
            (csv(json!({"name": "x.csv"})), &overwrite),
            (csv(json!({"partition_by": ["oops"]})), &insert),
            (csv(json!({"partition_by": ["id", "name"]})), &insert),
            (json!({"path": "x.csv", "partition_by": ["id"]}), &insert),
            (json!({"path": "x.csv", "max_rows_per_object": 5}), &insert),
        ] {
            assert_eq!(draft(more.clone(), plan), Err(ErrorKind::Options), "{more}");
        }
        bucket.put("x.csv", "id,name\n");
        let append = json!({"path": "x.csv", "if_exists": "append"});
        let several = WritePlan { tasks: 2, ..overwrite };
        if kind == Kind::Folder {
            // A disk joins files, so rows can be added and several tasks can write.
            draft(append, &insert).unwrap();
            draft(json!({"path": "x.csv"}), &several).unwrap();
        } else {
            assert_eq!(draft(append, &insert), Err(ErrorKind::Unsupported));
            let error = writer(&bucket, json!({"path": "x.csv"})).prepare(&several).unwrap_err();
            assert!(error.hint.unwrap().contains("parallelism"), "{}", error.message);
        }
        let again = plan("../r1", &two_columns(), WriteMode::Insert);
        let error = writer(&bucket, csv(json!({}))).prepare(&again).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Defect);
        assert_eq!(bucket.names(), ["x.csv"], "{kind:?}");
    }
}

#[test]
fn looking_writes_nothing() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let writer = writer(&bucket, csv(json!({})));
        let findings = writer.check().unwrap();
        assert!(findings.iter().all(|finding| finding.ok), "{findings:?}");
        let info = writer.inspect().unwrap();
        assert!(!info.exists && info.name.contains("out"), "{info:?}");
        assert_eq!(writer.discover().unwrap(), []);
        writer.draft(&plan("r-1", &two_columns(), WriteMode::Insert)).unwrap();
        assert_eq!(bucket.names(), Vec::<String>::new(), "{kind:?}");
        job(&bucket, "r-1", WriteMode::Insert, &[&[1]], json!({})).unwrap();
        assert!(writer.inspect().unwrap().exists);
        let tables = writer.discover().unwrap();
        assert!(tables[0].name.ends_with("out/part-r-1-00000-00000.csv"), "{tables:?}");
    }
}

/// A file system in memory that holds one and a half of the test's chunks.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Option<Self> {
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(&at).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the writer may still hold descriptors.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn f15_a_full_disk_is_said_to_be_one_and_nothing_is_published() {
    let bucket = Bucket::new(Kind::Folder);
    // A small disk; to mount one takes a right that not every user has.
    let Some(_disk) = SmallDisk::mount(bucket.file("")) else { return };
    let plan = plan("r-1", &two_columns(), WriteMode::Insert);
    let writer = writer(&bucket, csv(json!({"part_size": 5 << 20})));
    writer.prepare(&plan).unwrap();
    let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
    let long = "z".repeat(100);
    let big: Vec<_> = (0..70_000).map(|id| vec![id.to_string(), long.clone()]).collect();
    let big = crate::host::batch(&two_columns(), &big);
    chunk(&mut *task, &big);
    task.begin_chunk(1).unwrap();
    task.write(&big).unwrap();
    let error = task
        .commit_chunk(&Position::default(), &Counters::default())
        .and_then(|_| task.finish())
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Space, "{error}");
    writer.abort(&plan, &[]).unwrap();
    assert_eq!(bucket.names(), Vec::<String>::new());
}

#[test]
fn staging_is_private_and_the_folder_is_not() {
    use std::os::unix::fs::PermissionsExt;
    let bucket = Bucket::new(Kind::Folder);
    let writer = writer(&bucket, csv(json!({})));
    writer.prepare(&plan("r-1", &two_columns(), WriteMode::Insert)).unwrap();
    let mode = |name| std::fs::metadata(bucket.file(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("out/_transload"), mode("out/_transload/r-1")), (0o700, 0o700));
    assert_ne!(mode("out") & 0o055, 0);
}
