//! Rates and memory: a job stays within its limits.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{
    thread,
    time::{Duration, Instant},
};

use transload_tests::Workplace;

/// A job with this many rows of about a kilobyte, into a slow writer.
fn job(rows: u64, delay: &str, channel: &str) -> String {
    format!(
        "[reader]\nplugin = \"generator\"\nrows = {rows}\nbatch_rows = 2048\n\
         specs = {{ id = \"int64 sequence\", bytes = \"binary bytes 1000..1048\" }}\n\
         [writer]\nplugin = \"generator\"\ndelay = \"{delay}\"\n[channel]\n{channel}\n"
    )
}

#[test]
fn rates_are_kept() {
    for (channel, least) in [
        ("max_rows_per_second = 10_000", 1.9),
        ("max_bytes_per_second = \"10 MB\"\nparallelism = 2", 1.9),
        ("parallelism = 2", 0.0),
    ] {
        let workplace = Workplace::new();
        let begun = Instant::now();
        // A second's worth may be ahead of the rate.
        let (ended, report) = workplace.job(&job(30_000, "0 s", channel));
        ended.exits(0);
        assert_eq!(report["rows"]["inserted"], 30_000);
        assert!(begun.elapsed().as_secs_f64() > least, "{channel}: {:?}", begun.elapsed());
    }
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
