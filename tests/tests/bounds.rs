//! Rates and memory: a job stays within its limits.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use transload_tests::{Workplace, wait_until};

/// A job with this many rows of about a kilobyte, into a slow writer.
fn job(rows: u64, delay: &str, channel: &str) -> String {
    format!(
        "[reader]\nplugin = \"generator\"\nrows = {rows}\nbatch_rows = 2048\n\
         specs = {{ id = \"int64 sequence\", bytes = \"binary bytes 1000..1048\" }}\n\
         [writer]\nplugin = \"generator\"\ndelay = \"{delay}\"\n[channel]\n{channel}\n"
    )
}

/// Rows read after each second of a run.
fn rows_by_second(job: &str) -> Vec<u64> {
    let workplace = Workplace::new();
    workplace.put("job.toml", job);
    let ended = workplace.run(&["run", "job.toml", "--progress", "json"]);
    ended.exits(0);
    let lines = ended.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let read = lines.filter(|line| line["event"] == "progress");
    read.map(|line| line["rows_read"].as_u64().unwrap()).collect()
}

#[test]
fn rates_are_kept_also_by_batches_of_more_than_a_second() {
    for channel in [
        "max_rows_per_second = 2_000\nparallelism = 4",
        // about a kilobyte a row
        "max_bytes_per_second = \"2 MB\"\nparallelism = 2",
    ] {
        let rows = rows_by_second(&job(8_000, "0 s", channel));
        let busy: Vec<_> = rows.into_iter().take_while(|rows| *rows < 8_000).collect();
        assert!(busy.len() >= 3, "{channel}: {busy:?}");
        for pair in busy.windows(2) {
            // What a busy machine adds or takes in a second.
            let in_a_second = pair[1] - pair[0];
            assert!((1_500..2_500).contains(&in_a_second), "{channel}: {busy:?}");
        }
    }
    let begun = Instant::now();
    let workplace = Workplace::new();
    let limit = "max_rows_per_second = 5_000\nparallelism = 2";
    let (ended, report) = workplace.job(&job(15_000, "0 s", limit));
    ended.exits(0);
    assert_eq!(report["rows"]["inserted"], 15_000);
    let taken = report["elapsed_ms"].as_u64().unwrap();
    assert!(taken >= 2_850, "{taken} ms, {:?} in all", begun.elapsed());
    assert_eq!(report["bottleneck"]["side"], "limit");
}

#[test]
fn the_limits_of_a_run_in_progress_are_changed() {
    let workplace = Workplace::new();
    workplace.put("job.toml", job(10_000_000, "0 s", "max_rows_per_second = 10"));
    let running = workplace.start(&["run", "job.toml", "--progress", "json"]);
    let runs = workplace.path().join("state/runs/job");
    let mut run = String::new();
    wait_until("the run has begun", || {
        let entry = fs::read_dir(&runs).ok().and_then(|mut runs| runs.next());
        run = entry
            .map_or_else(String::new, |entry| entry.unwrap().file_name().into_string().unwrap());
        runs.join(&run).join("plan.json").is_file()
    });
    let throttle = |limits: &[&str]| {
        workplace.run(&[&["throttle", run.as_str(), "--output", "json"], limits].concat())
    };
    let more = ["--max-rows-per-second", "2_000", "--max-bytes-per-second", "1 GB"];
    throttle(&more).exits(0);
    thread::sleep(Duration::from_millis(2_500));
    let changed = throttle(&["--max-bytes-per-second", "none"]);
    let result: Value = serde_json::from_str(&changed.exits(0).stdout).unwrap();
    assert!(result["changed"]["max_bytes_per_second"].is_null(), "{result}");
    running.signal("TERM");
    let ended = running.wait();
    ended.exits(143);
    let report: Value =
        serde_json::from_str(&workplace.read(&format!("state/runs/job/{run}/report.json")))
            .unwrap();
    let limits = json!({
        "max_bytes_per_second": null, "max_rows_per_second": 2_000, "changes": 2
    });
    assert_eq!(report["limits"], limits);
    let rows = report["rows_read"].as_u64().unwrap();
    assert!((3_000..20_000).contains(&rows), "{rows}");
    assert!(ended.stderr.contains("2,000 rows/s at the end, after 2 changes"), "{ended:?}");
    let mut shown =
        ended.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let last = shown.rfind(|line| line["event"] == "progress").unwrap();
    assert_eq!(last["limits"]["max_rows_per_second"], 2_000);

    let gone = throttle(&["--max-rows-per-second", "1"]);
    gone.exits(4);
    assert!(gone.stderr.contains("has ended; its limits are unchanged"), "{gone:?}");
    let unknown = workplace.run(&["throttle", "../job", "--max-rows-per-second", "1"]);
    assert!(unknown.exits(4).stderr.contains("[RUN-MISSING]"), "{unknown:?}");
    workplace.run(&["throttle", &run]).exits(2);
}

/// The peak memory of a job, sampled often.
fn peak_memory(job: &str) -> u64 {
    let workplace = Workplace::new();
    workplace.put("job.toml", job);
    let mut running = workplace.start(&["run", "job.toml", "--progress", "none"]);
    let mut peak = 0;
    while !running.has_ended() {
        peak = running.peak_memory().unwrap_or(0).max(peak);
        thread::sleep(Duration::from_millis(2));
    }
    running.wait().exits(0);
    assert!(peak > 0, "it ended before it was looked at");
    peak
}

#[test]
fn f21_a_slow_writer_does_not_fill_the_memory() {
    const MIB: u64 = 1 << 20;
    // About 2 MiB a batch, 400 MiB in all, through a buffer of 32 MiB.
    let empty = peak_memory(&job(10, "100 ms", "buffer = \"32 MiB\""));
    for parallelism in [1, 4] {
        let channel = format!("buffer = \"32 MiB\"\nparallelism = {parallelism}");
        let full = peak_memory(&job(400_000, "10 ms", &channel));
        let most = empty + (32 + 64) * MIB;
        assert!(full < most, "{} MiB, {} at most", full / MIB, most / MIB);
    }
}

/// Rows of 5 MiB, each a batch, from sixteen tasks at once: more in one batch than the buffer.
#[test]
fn f20_wide_rows_of_many_tasks_stay_within_the_buffer() {
    const MIB: u64 = 1 << 20;
    let job = |rows: u64| {
        format!(
            "[reader]\nplugin = \"generator\"\nrows = {rows}\nbatch_rows = 1\n\
             specs = {{ bytes = \"binary bytes 5242000..5242880\" }}\n\
             [writer]\nplugin = \"generator\"\ndelay = \"20 ms\"\n\
             [channel]\nparallelism = 16\nbuffer = \"4 MiB\"\n"
        )
    };
    let (empty, full) = (peak_memory(&job(0)), peak_memory(&job(32)));
    let most = empty + (4 + 64) * MIB;
    assert!(full < most, "{} MiB, {} at most", full / MIB, most / MIB);
}

/// A job from the generator into files, with little memory.
fn into_files(specs: &str, rows: u64, writer: &str, channel: &str) -> String {
    format!(
        "[reader]\nplugin = \"generator\"\nrows = {rows}\nbatch_rows = 1024\nspecs = {{ {specs} }}\n\
         [writer]\nplugin = \"file\"\n{writer}[checkpoint]\nrows = 10_000_000\n\
         [channel]\n{channel}\n"
    )
}

/// A row group is in memory until it ends: a small buffer ends it early, and the plan says what the run
/// takes at most.
#[test]
fn f20_row_groups_stay_within_what_the_plan_says() {
    const MIB: u64 = 1 << 20;
    let job = |rows| {
        let bytes = "bytes = \"binary bytes 1000..1048\"";
        let writer = "path = \"out/\"\nformat = \"parquet\"\ncompression = \"none\"\n";
        into_files(bytes, rows, writer, "buffer = \"4 MiB\"\nparallelism = 2")
    };
    let workplace = Workplace::new();
    workplace.put("job.toml", job(80_000));
    let plan = workplace.run(&["plan", "job.toml", "--output", "json"]);
    let plan: Value = serde_json::from_str(&plan.exits(0).stdout).unwrap();
    let of_task = plan["draft"]["task_memory"].as_u64().unwrap();
    assert!((8 * MIB..=24 * MIB).contains(&of_task), "{of_task}");
    let shown = workplace.run(&["plan", "job.toml", "--width", "80"]);
    let said = format!("memory       up to {} MiB beside", 4 + (2 * of_task).div_ceil(MIB));
    assert!(shown.exits(0).stdout.contains(&said), "no `{said}` in {}", shown.stdout);
    let (empty, full) = (peak_memory(&job(10)), peak_memory(&job(80_000)));
    let most = empty + 4 * MIB + 2 * of_task + 16 * MIB;
    assert!(full < most, "{} MiB, {} at most, {} empty", full / MIB, most / MIB, empty / MIB);
}

/// The text of the rows of an open chunk counts: here it is a hundred times as long as the rows.
#[test]
fn f20_the_text_of_a_chunk_stays_within_the_buffer() {
    const MIB: u64 = 1 << 20;
    let job = |rows| {
        let specs = (0..20).map(|at| format!("column_{at} = \"boolean\"")).collect::<Vec<_>>();
        let writer = "path = \"out.jsonl\"\n";
        into_files(&specs.join(", "), rows, writer, "buffer = \"2 MiB\"\nparallelism = 1")
    };
    let (empty, full) = (peak_memory(&job(10)), peak_memory(&job(150_000)));
    let most = empty + (2 + 16) * MIB;
    assert!(full < most, "{} MiB, {} at most, {} empty", full / MIB, most / MIB, empty / MIB);
}

/// A batch that passes in pieces keeps the places of its rows.
#[test]
fn rows_of_a_batch_in_pieces_are_found_again() {
    let workplace = Workplace::new();
    let rows: String = (1..=500)
        .map(|id| if id == 150 { "x,150\n".to_owned() } else { format!("{id},{id}\n") })
        .collect();
    workplace.put("in.csv", format!("id,n\n{rows}"));
    workplace
        .execute("out.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER CHECK (n % 97))");
    let (ended, report) = workplace.job(
        "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n\
         [reader.schema]\nid = \"int64\"\nn = \"int64\"\n\
         [writer]\nplugin = \"sqlite\"\npath = \"out.db\"\ntable = \"t\"\n\
         [channel]\nmax_rows_per_second = 1_000\n[dirty]\nmax_rows = 10\n",
    );
    ended.exits(0);
    assert_eq!(report["rows"]["read"], 500);
    assert_eq!(report["rows"]["inserted"], 494);
    let dirty = workplace.dirty_rows(&report);
    let mut lines: Vec<_> = dirty.iter().map(|row| row["line"].as_u64().unwrap()).collect();
    lines.sort_unstable();
    // The header is line 1.
    assert_eq!(lines, [98, 151, 195, 292, 389, 486]);
    assert!(report["elapsed_ms"].as_u64().unwrap() >= 450, "{report}");
}

#[test]
fn a_side_without_progress_is_reported() {
    for (delays, side, said) in [
        (("2500 ms", "0 s"), "reader", "the source has sent nothing for"),
        (("0 s", "2500 ms"), "writer", "the target has taken nothing for"),
    ] {
        let workplace = Workplace::new();
        workplace.put(
            "job.toml",
            format!(
                "[reader]\nplugin = \"generator\"\nrows = 2\ndelay = \"{}\"\n\
                 specs = {{ id = \"int64 sequence\" }}\n\
                 [writer]\nplugin = \"generator\"\ndelay = \"{}\"\n\
                 [channel]\nparallelism = 1\nstall_timeout = \"1 s\"\n",
                delays.0, delays.1
            ),
        );
        let running = workplace.run(&["run", "job.toml", "--progress", "json"]);
        running.exits(0).says("WARN").says("task 0 (rows 0..2): ").says(said);
        let lines = running.stderr.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok());
        let stalled: Vec<_> = lines.filter_map(|line| line["stalled"].get(0).cloned()).collect();
        assert!(stalled.iter().any(|stall| stall["side"] == side), "{side}: {running:?}");
        running.says("1 time a task made no progress for `stall_timeout`");
    }
}
