//! F35 at length, and figures: ignored by default. `TRANSLOAD_ROUNDS` says how many rounds.
//!
//! `cargo test -p transload-plugin-object-store --test writing -- --ignored --nocapture soak`

use std::time::Instant;

use serde_json::json;
use transload_plugin_api::{ChunkOutcome, WriteMode};
use transload_tests_s3::{Fault, Rule};

use crate::{
    home::Home,
    host::{plan, rows, two_columns, write_task, writer},
};

/// How long a commit of many objects takes where each answer takes its time, and then the removal
/// of as many.
#[test]
#[ignore = "a figure, not a test"]
fn soak_a_commit_of_many_objects() {
    let (home, faults) = Home::failing();
    let options = json!({"path": "out/", "format": "csv", "max_rows_per_object": 1});
    let writer = writer(&home, options);
    for (run, mode) in [("r-1", WriteMode::Insert), ("r-2", WriteMode::Overwrite)] {
        let plan = plan(run, &two_columns(), mode);
        writer.prepare(&plan).unwrap();
        let receipt = write_task(&*writer, &plan, 0, &[rows(0..200)]).unwrap().0;
        let _slow = faults.arm(Rule::on("*"), Fault::Slow(20));
        let begun = Instant::now();
        let outcome = writer.commit(&plan, &[receipt]).unwrap();
        println!("{mode:?} of 200 objects: {:?}", begun.elapsed());
        assert_eq!(outcome, ChunkOutcome::Committed);
        let begun = Instant::now();
        writer.finalise(&plan).unwrap();
        println!("finalised: {:?}", begun.elapsed());
        assert_eq!((home.data().len(), home.uploads()), (200, 0));
    }
}
