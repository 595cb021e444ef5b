//! T60: a secret occurs nowhere except where it is used: not in outputs, logs or files of a run.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use transload_tests::{Ended, Workplace, sample_folder};
use transload_tests_buckets::{AZURE, Bucket};
use transload_tests_s3::SECRET;

const CANARY: &str = "c4n4ry-Wb7!x%2F9";

/// Every file below a folder, except for those that contain the secret by design.
fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            files(&path, found);
        } else if !["job.toml", "connections.toml", "secret.txt"].contains(&name.as_str()) {
            found.push((name, fs::read(&path).unwrap()));
        }
    }
}

#[track_caller]
fn assert_hidden(workplace: &Workplace, ended: &Ended, secret: &str) {
    let mut texts = vec![
        ("stdout".to_owned(), ended.stdout.clone().into_bytes()),
        ("stderr".to_owned(), ended.stderr.clone().into_bytes()),
    ];
    files(workplace.path(), &mut texts);
    for (name, text) in texts {
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains(secret), "{name}: {text}");
    }
}

/// Runs a command with full logging in both formats, and searches all output.
fn search(workplace: &Workplace, arguments: &[&str]) -> Ended {
    search_for(workplace, arguments, CANARY)
}

fn search_for(workplace: &Workplace, arguments: &[&str], secret: &str) -> Ended {
    let run = |format: &str| {
        let mut command = workplace.command();
        command.args(arguments).args(["--log", "trace", "--log-format", format]);
        let ended = Ended::from(command.env("CANARY", CANARY).output().unwrap());
        assert_hidden(workplace, &ended, secret);
        ended
    };
    run("text");
    run("json")
}

fn set_mode(workplace: &Workplace, file: &str, mode: u32) {
    let permissions = Permissions::from_mode(mode);
    fs::set_permissions(workplace.path().join(file), permissions).unwrap();
}

fn sample_job(workplace: &Workplace, password: &str, more: &str) {
    workplace.put("secret.txt", CANARY);
    set_mode(workplace, "secret.txt", 0o600);
    let job = format!(
        "[reader]\nplugin = \"sample\"\ncolumns = [\"int64\"]\npassword = {password}\n{more}\
         [writer]\nplugin = \"file\"\npath = \"out.jsonl\"\nwrite_mode = \"overwrite\"\n\
         [channel]\nparallelism = 1\n[dirty]\nmax_rows = 1\n"
    );
    workplace.put("job.toml", job);
}

/// A command for the job of the sample, which lies in this folder.
fn with_sample<'a>(command: &'a str, plugins: &'a str, output: &'a str) -> [&'a str; 7] {
    let allow = "--allow-unsigned-plugins";
    [command, "job.toml", allow, "--plugins", plugins, "--output", output]
}

#[test]
fn t60_a_secret_is_in_no_output_of_a_run() {
    let folder = sample_folder();
    let plugins = folder.path().to_str().unwrap();
    for password in [
        "{ env = \"CANARY\" }".to_owned(),
        "{ file = \"secret.txt\" }".to_owned(),
        "{ command = [\"cat\", \"secret.txt\"] }".to_owned(),
    ] {
        let workplace = Workplace::new();
        sample_job(&workplace, &password, "");
        for output in ["text", "json"] {
            for command in ["check", "plan", "run"] {
                let arguments = with_sample(command, plugins, output);
                search(&workplace, &arguments).exits(0);
            }
        }
    }
}

/// Statements are in plans and logs; a secret in them is not, also before a plugin requests it.
#[test]
fn t60_a_secret_in_a_logged_statement_is_taken_out() {
    let folder = sample_folder();
    let plugins = folder.path().to_str().unwrap();
    let workplace = Workplace::new();
    sample_job(&workplace, "{ env = \"CANARY\" }", "");
    workplace
        .execute("target.db", "CREATE TABLE t (\"int64\" INTEGER); CREATE TABLE keys (key TEXT)");
    let statement = |key: &str| format!("INSERT INTO keys SELECT '{key}' WHERE '{CANARY}' <> ''");
    let writer = format!(
        "plugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\n\
         before = \"{}\"\nafter = \"{}\"\n",
        statement("before"),
        statement("after")
    );
    let job = workplace
        .read("job.toml")
        .replace("plugin = \"file\"\npath = \"out.jsonl\"\nwrite_mode = \"overwrite\"\n", &writer);
    workplace.put("job.toml", job);
    for command in ["plan", "run"] {
        let ended = search(
            &workplace,
            &[command, "job.toml", "--allow-unsigned-plugins", "--plugins", plugins],
        );
        ended.exits(0);
        let said = ended.stdout.clone() + &ended.stderr;
        for key in ["before", "after"] {
            let statement = format!("INSERT INTO keys SELECT '{key}' WHERE ");
            let line = said.lines().find(|line| line.contains(&statement)).unwrap();
            assert!(line.contains("[redacted:password]"), "{line}");
        }
    }
    // They were run as they are written, by both runs of the search.
    let keys = workplace.sqlite("target.db", "SELECT key FROM keys");
    assert_eq!(keys, ["'before'", "'after'", "'before'", "'after'"]);
}

/// The plugin receives the secret and puts it into its error, as a faulty plugin might.
#[test]
fn t60_what_a_plugin_says_of_a_secret_is_taken_out() {
    let folder = sample_folder();
    let plugins = folder.path().to_str().unwrap();
    for leak in ["leak error", "leak panic", "leak log", "leak dirty"] {
        let workplace = Workplace::new();
        sample_job(&workplace, "{ env = \"CANARY\" }", &format!("fault = \"{leak}\"\n"));
        let arguments = [
            "run",
            "job.toml",
            "--allow-unsigned-plugins",
            "--plugins",
            plugins,
            "--output",
            "json",
        ];
        let ended = search(&workplace, &arguments);
        let mut texts = vec![(String::new(), (ended.stdout + &ended.stderr).into_bytes())];
        files(workplace.path(), &mut texts);
        let redacted = |(_, text): &(String, Vec<u8>)| {
            String::from_utf8_lossy(text).contains("[redacted:password]")
        };
        assert!(texts.iter().any(redacted), "{leak}: the secret was not printed at all");
    }
}

#[test]
fn t60_urls_are_shown_without_their_user() {
    let workplace = Workplace::new();
    let url = format!("ftp://user:{CANARY}@host.example/in.csv");
    for (reader, writer) in [
        (
            format!("plugin = \"file\"\npath = \"{url}\""),
            "plugin = \"file\"\npath = \"out.csv\"".to_owned(),
        ),
        (
            "plugin = \"generator\"\nrows = 3\npreset = \"lineitem\"".to_owned(),
            format!("plugin = \"sqlite\"\npath = \"{url}\"\ntable = \"t\""),
        ),
    ] {
        workplace.put("job.toml", format!("[reader]\n{reader}\n[writer]\n{writer}\n"));
        for command in ["check", "plan", "run"] {
            for output in ["text", "json"] {
                search(&workplace, &[command, "job.toml", "--output", output]);
            }
        }
    }
}

#[test]
fn t60_a_literal_secret_is_warned_about_without_being_shown() {
    let folder = sample_folder();
    let plugins = folder.path().to_str().unwrap();
    let workplace = Workplace::new();
    sample_job(&workplace, &format!("\"{CANARY}\""), "");
    let run = || {
        search(&workplace, &["run", "job.toml", "--allow-unsigned-plugins", "--plugins", plugins])
    };
    set_mode(&workplace, "job.toml", 0o644);
    run().exits(2).says("secret `password` is written in a world-readable file");
    set_mode(&workplace, "job.toml", 0o600);
    run().exits(0).says(" warnings: transload plan job.toml\n");
    let plan =
        search(&workplace, &["plan", "job.toml", "--allow-unsigned-plugins", "--plugins", plugins]);
    assert!(plan.exits(0).stdout.contains("secret `password` is written in the file"), "{plan:?}");
}

/// Runs a job that copies an object, with a valid or an invalid login, and searches all output for
/// a secret.
fn search_bucket(bucket: &Bucket, connection: &str, secret: &str, is_good: bool) {
    let workplace = Workplace::new();
    bucket.put("in.csv", b"id\n1\n");
    let section = |path: &str| format!("{connection}path = \"{path}\"\nretries = 0\n");
    let job = format!(
        "[reader]\n{}[writer]\n{}format = \"csv\"\nwrite_mode = \"overwrite\"\n",
        section("in.csv"),
        section("out/")
    );
    workplace.put("job.toml", job);
    for output in ["text", "json"] {
        for command in ["check", "plan", "run"] {
            let ended = search_for(&workplace, &[command, "job.toml", "--output", output], secret);
            assert!(
                command == "check" || is_good == (ended.exit == Some(0)),
                "{command}: {ended:?}"
            );
        }
    }
}

#[test]
fn t60_a_stores_key_is_in_no_output() {
    for (bucket, secret) in [(Bucket::s3(), SECRET), (Bucket::azure(), AZURE.1)] {
        search_bucket(&bucket, &bucket.connection(), secret, true);
        let file = format!("{{ file = \"{}\" }}", bucket.secret.display());
        // The store's response to a wrong signature repeats what was signed.
        let wrong = bucket.connection().replace(&file, "{ env = \"CANARY\" }");
        search_bucket(&bucket, &wrong, CANARY, false);
    }
}

/// A shared access signature is a part of every requested URL, and so of a client's errors.
#[test]
fn t60_a_shared_access_signature_is_in_no_output() {
    let bucket = Bucket::azure();
    let file = format!("{{ file = \"{}\" }}", bucket.secret.display());
    let signature = "c4n4ryWb7x2F9";
    let token =
        format!("sv=2021-12-02&ss=b&srt=sco&sp=rwdlc&se=2099-01-01T00:00:00Z&sig={signature}");
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("token");
    fs::write(&place, token).unwrap();
    fs::set_permissions(&place, Permissions::from_mode(0o600)).unwrap();
    let token = format!("{{ file = \"{}\" }}", place.display());
    let connection = bucket
        .connection()
        .replace(&format!("account_key = {file}"), &format!("sas_token = {token}"));
    search_bucket(&bucket, &connection, signature, false);
    let closed = connection.replace(&bucket.endpoint, "http://127.0.0.1:9/devstoreaccount1");
    search_bucket(&bucket, &closed, signature, false);
}

/// What comes after a run: continuing it, its history, the comparison of its rows, and the repair.
#[test]
fn t60_a_secret_is_in_no_output_of_what_follows_a_run() {
    let bucket = Bucket::s3();
    bucket.put("in.csv", b"id,n\n1,1\n2,2\n3,3\n");
    let workplace = Workplace::new();
    workplace.execute("target.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)");
    let writer = "[writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\n\
                  write_mode = \"upsert\"\n";
    let job = format!("[reader]\n{}path = \"in.csv\"\n{writer}", bucket.connection());
    workplace.put("job.toml", &job);
    let mut killed = workplace.command();
    killed.args(["run", "job.toml", "--log", "trace"]).env("TRANSLOAD_FAILPOINT", "K7");
    assert_hidden(&workplace, &Ended::from(killed.output().unwrap()), SECRET);
    let follow = |arguments: &[&str], exit| {
        search_for(&workplace, arguments, SECRET).exits(exit);
        search_for(&workplace, &[arguments, &["--output", "json"]].concat(), SECRET).exits(exit);
    };
    follow(&["resume", "job"], 0);
    follow(&["history"], 0);
    follow(&["verify", "job"], 0);
    workplace.execute("target.db", "UPDATE t SET n = 7 WHERE id = 2");
    follow(&["verify", "job.toml", "--repair", "mend.sql"], 8);
    assert!(workplace.read("mend.sql").contains("UPDATE"), "it was searched");
    // The store's response to a wrong signature repeats what was signed.
    let file = format!("{{ file = \"{}\" }}", bucket.secret.display());
    workplace.put("job.toml", job.replace(&file, "{ env = \"CANARY\" }"));
    assert_ne!(search(&workplace, &["verify", "job.toml"]).exit, Some(0));
}

/// A password in the place of a variable's name, of a file or within an address is not repeated.
#[test]
fn t60_a_secret_in_the_wrong_place_is_not_shown() {
    let folder = sample_folder();
    let plugins = folder.path().to_str().unwrap();
    for password in [
        format!("{{ env = \"{CANARY}\" }}"),
        format!("{{ file = \"{CANARY}\" }}"),
        format!("{{ environment = \"{CANARY}\" }}"),
        format!("{{ command = \"{CANARY}\" }}"),
        format!("[\"{CANARY}\"]"),
    ] {
        let workplace = Workplace::new();
        sample_job(&workplace, &password, "");
        for output in ["text", "json"] {
            for command in ["check", "plan", "run"] {
                let arguments = with_sample(command, plugins, output);
                let ended = search(&workplace, &arguments);
                assert!(command != "run" || ended.exit != Some(0), "{password}: {ended:?}");
            }
        }
    }
    let workplace = Workplace::new();
    let job = format!(
        "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[writer]\nplugin = \"postgres\"\n\
         host = \"user:{CANARY}@127.0.0.1\"\nuser = \"u\"\ndatabase = \"d\"\ntable = \"t\"\n"
    );
    workplace.put("in.csv", "id\n1\n");
    workplace.put("job.toml", job);
    for output in ["text", "json"] {
        for command in ["check", "plan", "run"] {
            search(&workplace, &[command, "job.toml", "--output", output]);
        }
    }
}

/// What a run keeps is for its user alone; its memory is in no core dump; the program that prints a
/// secret gets none of the others.
#[test]
fn what_a_run_keeps_is_private() {
    let folder = sample_folder();
    let plugins = folder.path().to_str().unwrap();
    let workplace = Workplace::new();
    // A connection that the job does not use holds a secret, too.
    let other = "[other]\nplugin = \"sample\"\npassword = { env = \"OTHER_CANARY\" }\n";
    workplace.put("connections.toml", other);
    let script = "env > seen.txt; grep core /proc/$PPID/limits > limits.txt; echo password";
    workplace.put(
        "job.toml",
        format!(
            "[reader]\nplugin = \"sample\"\ncolumns = [\"int64\"]\n\
             password = {{ command = [\"sh\", \"-c\", \"{script}\"] }}\n\
             [writer]\nplugin = \"sample\"\npassword = {{ env = \"CANARY\" }}\n\
             [channel]\nparallelism = 1\n[dirty]\nmax_rows = 100\n"
        ),
    );
    let mut command = workplace.command();
    command
        .args(["run", "job.toml", "--allow-unsigned-plugins", "--plugins", plugins])
        .env("CANARY", CANARY);
    command.env("OTHER_CANARY", CANARY);
    // The sample does not know whether it has committed.
    Ended::from(command.output().unwrap()).exits(1).says("[RUN-COMMIT-UNKNOWN]");
    assert!(workplace.read("seen.txt").contains("PATH="));
    assert!(!workplace.read("seen.txt").contains("CANARY"), "{}", workplace.read("seen.txt"));
    let limits = workplace.read("limits.txt");
    let numbers: Vec<_> = limits.split_whitespace().filter(|word| *word == "0").collect();
    assert_eq!(numbers.len(), 2, "{limits}");
    let mut places = vec![workplace.path().join("state")];
    while let Some(place) = places.pop() {
        let mode = fs::metadata(&place).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if place.is_dir() { 0o700 } else { 0o600 }, "{}", place.display());
        if place.is_dir() {
            places.extend(fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}
