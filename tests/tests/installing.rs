//! A library put into a plugins folder becomes a plugin; a bad one does no harm.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use transload_tests::{Ended, Workplace, plugin_library, sample_folder};

const JOB: &str = "[reader]\nplugin = \"sample\"\ncolumns = [\"int64\"]\n\
                   [writer]\nplugin = \"file\"\npath = \"out.jsonl\"\n[channel]\nparallelism = 1\n[dirty]\nmax_rows = 1\n";

/// No one vouches for the sample.
const UNSIGNED: &str = "--allow-unsigned-plugins";

/// Runs the program with the sample plugin's folder configured in one of three ways.
fn with_sample(workplace: &Workplace, way: &str, arguments: &[&str]) -> Ended {
    let folder = sample_folder();
    let mut command = workplace.command();
    command.args(arguments).arg(UNSIGNED);
    match way {
        "--plugins" => command.arg("--plugins").arg(folder.path()),
        "TRANSLOAD_PLUGIN_PATH" => {
            command.env("TRANSLOAD_PLUGIN_PATH", format!("/:{}", folder.path().display()))
        }
        _ => {
            let user = workplace.path().join("data/transload/plugins");
            fs::create_dir_all(&user).unwrap();
            fs::copy(folder.path().join("libsample.so"), user.join("libsample.so")).unwrap();
            &mut command
        }
    };
    Ended::from(command.output().unwrap())
}

fn listed(ended: &Ended) -> Vec<Value> {
    serde_json::from_str(&ended.exits(0).stdout).unwrap()
}

fn named<'a>(list: &'a [Value], name: &str) -> &'a Value {
    list.iter().find(|entry| entry["name"] == name).unwrap_or_else(|| panic!("{list:#?}"))
}

#[test]
fn a_library_in_a_folder_is_a_plugin() {
    for way in ["--plugins", "TRANSLOAD_PLUGIN_PATH", "the user's folder"] {
        let workplace = Workplace::new();
        let list = listed(&with_sample(&workplace, way, &["plugin", "list", "--output", "json"]));
        let sample = named(&list, "sample");
        assert_eq!(
            [&sample["status"], &sample["version"], &sample["trust"]],
            ["ok", "0.1.0", "unsigned"],
            "{way}"
        );
        for name in ["file", "generator", "sqlite"] {
            let entry = named(&list, name);
            assert_eq!([&entry["status"], &entry["trust"]], ["ok", "builtin"]);
        }
        let info = with_sample(&workplace, way, &["plugin", "info", "sample"]);
        assert!(info.exits(0).stdout.contains("rows that test the boundary"), "{}", info.stdout);
        workplace.put("job.toml", JOB);
        with_sample(&workplace, way, &["run", "job.toml"]).exits(0);
        assert!(!workplace.read("out.jsonl").is_empty());
    }
    let workplace = Workplace::new();
    workplace.run(&["plugin", "info", "sample"]).exits(7).says("there is no plugin `sample`");
}

#[test]
fn a_library_is_checked_stage_by_stage() {
    let workplace = Workplace::new();
    let library = plugin_library("sqlite");
    let library = library.to_str().unwrap();
    let ended = workplace.run(&["plugin", "check", library, "--output", "json"]);
    let findings: Vec<Value> = serde_json::from_str(&ended.exits(0).stdout).unwrap();
    assert!(findings.len() > 5 && findings.iter().all(|finding| finding["ok"] == true));
    let text = workplace.put("no-plugin.so", "text");
    let ended = workplace.run(&["plugin", "check", text.to_str().unwrap()]);
    ended.exits(7);
    assert!(ended.stdout.contains("no ELF header"), "{}", ended.stdout);
}

#[test]
fn t61_bad_libraries_are_listed_with_reasons_and_harm_nothing() {
    let folder = sample_folder();
    let put = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    let whole = fs::read(plugin_library("generator")).unwrap();
    put("empty.so", b"");
    put("text.so", b"hello");
    put("truncated.so", &whole[..whole.len() / 2]);
    put("garbage.so", &[b"\x7fELF".as_slice(), &[0x5a; 4096]].concat());
    let workplace = Workplace::new();
    let plugins = folder.path().to_str().unwrap();
    let list = listed(&workplace.run(&[
        "plugin",
        "list",
        UNSIGNED,
        "--output",
        "json",
        "--plugins",
        plugins,
    ]));
    for (file, reason) in [
        ("empty.so", "the file is empty"),
        ("text.so", "not a shared library"),
        ("truncated.so", "damaged"),
        ("garbage.so", "damaged"),
    ] {
        let is_it = |entry: &&Value| entry["path"].as_str().unwrap().ends_with(&format!("/{file}"));
        let entry = list.iter().find(is_it).unwrap();
        assert_eq!(entry["status"], "refused");
        assert!(entry.to_string().contains(reason), "{entry:#}");
    }
    let shown = workplace.run(&["plugin", "list", UNSIGNED, "--plugins", plugins]);
    assert!(shown.exits(0).stdout.contains("the file is empty"), "{}", shown.stdout);
    workplace.put("job.toml", JOB);
    workplace.run(&["run", "job.toml", UNSIGNED, "--plugins", plugins]).exits(0);
}

#[test]
fn the_plugins_of_this_installation_are_as_its_manifest_says() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let manifest = fs::read_to_string(root.join("plugin-manifest.toml")).unwrap();
    fs::write(folder.path().join("plugin-manifest.toml"), &manifest).unwrap();
    let names: Vec<_> = manifest.lines().filter_map(|line| line.strip_prefix("name = ")).collect();
    for name in &names {
        let library = plugin_library(name.trim_matches('"'));
        let link = folder.path().join(library.file_name().unwrap());
        std::os::unix::fs::symlink(&library, link).unwrap();
    }
    let plugins = folder.path().to_str().unwrap();
    let workplace = Workplace::new();
    let list =
        workplace.run(&["plugin", "list", UNSIGNED, "--output", "json", "--plugins", plugins]);
    let list = listed(&list);
    let here: Vec<_> =
        list.iter().filter(|entry| entry["path"].as_str().unwrap().starts_with(plugins)).collect();
    assert_eq!((names.len(), here.len()), (7, 7));
    for entry in here {
        assert_eq!(entry["status"], "ok", "{entry:#}");
    }
}

/// The hash computed by another program.
fn sha256(library: &Path) -> String {
    let output = Command::new("sha256sum").arg(library).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

#[test]
fn t61_a_listed_library_must_have_its_hash() {
    let folder = sample_folder();
    let library = folder.path().join("libsample.so");
    let manifest = |hash: &str| {
        let text = format!(
            "[[plugin]]\nname = \"sample\"\nversion = \"0.1.0\"\nroles = [\"reader\", \"writer\"]\n\
             library = \"libsample.so\"\nabi = \"1.4\"\nsha256 = \"{hash}\"\n"
        );
        fs::write(folder.path().join("plugin-manifest.toml"), text).unwrap();
    };
    let workplace = Workplace::new();
    workplace.put("job.toml", JOB);
    let run = || {
        workplace.run(&["run", "job.toml", UNSIGNED, "--plugins", folder.path().to_str().unwrap()])
    };
    manifest(&sha256(&library));
    run().exits(0);
    manifest(&"0".repeat(64));
    fs::remove_file(workplace.path().join("out.jsonl")).unwrap();
    run().exits(7).says("`sample` was refused: sha256 is");
    assert!(!workplace.path().join("out.jsonl").exists());
}

/// A folder with the sample and a manifest that lists it with this hash.
fn listed_sample(hash: &str) -> tempfile::TempDir {
    let folder = sample_folder();
    let text = format!(
        "[[plugin]]\nname = \"sample\"\nversion = \"0.1.0\"\nroles = [\"reader\", \"writer\"]\n\
         library = \"libsample.so\"\nabi = \"1.4\"\nsha256 = \"{hash}\"\n"
    );
    fs::write(folder.path().join("plugin-manifest.toml"), text).unwrap();
    folder
}

/// Runs [`JOB`] with the plugins of this folder.
fn run_with(folder: &Path) -> (Workplace, Ended) {
    let workplace = Workplace::new();
    workplace.put("job.toml", JOB);
    let ended =
        workplace.run(&["run", "job.toml", UNSIGNED, "--plugins", folder.to_str().unwrap()]);
    (workplace, ended)
}

fn set_mode(place: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
}

/// `plugin check` knows the manifest, and takes a name without a folder for a file that is here.
#[test]
fn a_check_finds_a_library_that_was_changed() {
    let folder = listed_sample(&"0".repeat(64));
    let library = folder.path().join("libsample.so");
    let workplace = Workplace::new();
    let check = |folder: &Path, library: &str| {
        let mut command = workplace.command();
        command.current_dir(folder).args(["plugin", "check", library]);
        Ended::from(command.output().unwrap())
    };
    for name in [library.to_str().unwrap(), "libsample.so", "./libsample.so"] {
        let ended = check(folder.path(), name);
        ended.exits(7);
        assert!(ended.stdout.contains("FAILED  manifest"), "{}", ended.stdout);
        assert!(ended.stdout.contains("the manifest says `0000"), "{}", ended.stdout);
    }
    let intact = listed_sample(&sha256(&library));
    let ended = check(intact.path(), "libsample.so");
    assert!(ended.exits(0).stdout.contains("as it is listed"), "{}", ended.stdout);
}

/// Plan and report say which bytes ran, and why they may; a run warns of a plugin that no one vouches
/// for, whatever a list in its folder says.
#[test]
fn plan_and_report_name_the_library_its_hash_and_its_trust() {
    let folder = sample_folder();
    let hash = sha256(&folder.path().join("libsample.so"));
    for folder in [folder, listed_sample(&hash)] {
        let (workplace, ended) = run_with(folder.path());
        ended.exits(0).says("1 warning: transload plan");
        let run = fs::read_dir(workplace.path().join("state/runs/job")).unwrap().next().unwrap();
        let run = run.unwrap().path();
        for name in ["plan.json", "report.json"] {
            let kept: Value = serde_json::from_slice(&fs::read(run.join(name)).unwrap()).unwrap();
            let path = folder.path().join("libsample.so");
            assert_eq!(kept["reader"]["path"], path.to_str().unwrap(), "{name}");
            assert_eq!(kept["reader"]["sha256"], hash.as_str(), "{name}");
            assert_eq!(kept["reader"]["trust"], "unsigned", "{name}");
            assert_eq!(kept["writer"]["sha256"].as_str().unwrap().len(), 64, "{name}");
            assert_eq!(kept["writer"]["trust"], "builtin", "{name}");
            let warnings = kept["warnings"].to_string();
            assert!(warnings.contains("plugin `sample` ("), "{name}: {warnings}");
            assert!(warnings.contains("is neither signed nor pinned"), "{name}: {warnings}");
        }
    }
}

/// Without the flag and the line of the host's configuration, nothing of a library runs that no one
/// vouches for; with either of them it does. A job cannot allow it.
#[test]
fn an_unsigned_library_runs_only_where_the_operator_allows_it() {
    let (folder, library) = (sample_folder(), "libsample.so");
    let plugins = folder.path().to_str().unwrap();
    let workplace = Workplace::new();
    workplace.put("job.toml", JOB);
    let marker = workplace.path().join("marker");
    let run = |arguments: &[&str]| {
        let mut command = workplace.command();
        command.env("SAMPLE_AT_LOAD", format!("tell the environment={}", marker.display()));
        command.env("XDG_CACHE_HOME", workplace.path().join("cache"));
        Ended::from(command.args(arguments).args(["--plugins", plugins]).output().unwrap())
    };
    for arguments in [&["run", "job.toml"], &["plan", "job.toml"], &["plugin", "list"]] {
        let ended = run(arguments);
        if arguments[0] != "plugin" {
            ended.exits(7).says("[PLUGIN-UNSIGNED]").says("--allow-unsigned-plugins");
        }
        assert!(!marker.exists(), "{arguments:?}: {library} ran");
    }
    workplace.put("trust.toml", "allow_unsigned = true\n"); // beside the job
    workplace.put("config/transload/trust.toml", "allow_unsigned = false\n");
    let ended = run(&["run", "job.toml", UNSIGNED]);
    ended.exits(7).says("`allow_unsigned = false` in ").says("forbids to load it");
    workplace.put("config/transload/trust.toml", "allow_all = true\n");
    run(&["run", "job.toml", UNSIGNED]).exits(7).says("[PLUGIN-TRUST]").says("trust.toml:1:1");
    assert!(!marker.exists(), "{library} ran");
    workplace.put("config/transload/trust.toml", "allow_unsigned = true\n");
    run(&["run", "job.toml"]).exits(0);
    assert!(marker.exists(), "{library} did not run");
    // The plugins of the build need none of it.
    workplace.put("in.csv", "id\n1\n");
    let builtin = "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n\
                   [writer]\nplugin = \"file\"\npath = \"builtin.jsonl\"\n";
    workplace.put("builtin.toml", builtin);
    fs::remove_file(workplace.path().join("config/transload/trust.toml")).unwrap();
    run(&["run", "builtin.toml"]).exits(0);
}

/// The name that a manifest lists belongs to its library, also if that is missing or refused.
#[test]
fn an_unlisted_library_does_not_take_a_listed_name() {
    let hash = sha256(&sample_folder().path().join("libsample.so"));
    for (hash, said) in [(hash, None), ("0".repeat(64), Some("sha256 is"))] {
        let folder = listed_sample(&hash);
        let library = folder.path().join("libsample.so");
        // Its name sorts before that of the listed library.
        fs::copy(&library, folder.path().join("liba.so")).unwrap();
        let plugins = folder.path().to_str().unwrap();
        let workplace = Workplace::new();
        let list =
            workplace.run(&["plugin", "list", UNSIGNED, "--output", "json", "--plugins", plugins]);
        let list = listed(&list);
        let of = |file: &str| {
            list.iter().find(|entry| entry["path"].as_str().unwrap().ends_with(file)).unwrap()
        };
        assert_eq!(of("/liba.so")["status"], "refused");
        assert!(of("/liba.so").to_string().contains("belongs to `libsample.so`"));
        let (workplace, ended) = run_with(folder.path());
        match said {
            None => drop(ended.exits(0)),
            Some(_) => {
                ended.exits(7).says("was refused");
                assert!(!workplace.path().join("out.jsonl").exists());
            }
        }
    }
}

/// A library that other users can change is refused, with the command that repairs it.
#[test]
fn a_library_that_others_can_change_is_not_loaded() {
    let folder = sample_folder();
    let library = folder.path().join("libsample.so");
    for (place, mode) in [(library.as_path(), 0o666), (folder.path(), 0o777)] {
        set_mode(place, mode);
        let (_, ended) = run_with(folder.path());
        ended.exits(7).says("can be changed by other users");
        let hint = ended.stderr.lines().find_map(|line| line.split_once("hint: ")).unwrap().1;
        assert!(hint.starts_with("chmod go-w "), "{hint}");
        assert!(Command::new("sh").args(["-c", hint]).status().unwrap().success());
        run_with(folder.path()).1.exits(0);
    }
}

/// A manifest that a stranger has put above a folder has no say, and no pipe keeps a command waiting.
#[test]
fn a_strange_manifest_has_no_say() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("plugins");
    fs::create_dir(&folder).unwrap();
    fs::copy(sample_folder().path().join("libsample.so"), folder.join("libsample.so")).unwrap();
    let manifest = above.path().join("plugin-manifest.toml");
    fs::write(&manifest, "this is not a manifest").unwrap();
    run_with(&folder).1.exits(7).says("cannot read the manifest");
    set_mode(&manifest, 0o666);
    run_with(&folder).1.exits(0).says("can be changed by other users");
    fs::remove_file(&manifest).unwrap();
    assert!(Command::new("mkfifo").arg(&manifest).status().unwrap().success());
    set_mode(&manifest, 0o600);
    run_with(&folder).1.exits(7).says("not a regular file");
}

/// A manifest of any length is no reason to fill the memory, and is not read in part.
#[test]
fn a_manifest_beyond_its_limit_is_refused() {
    let hash = sha256(&sample_folder().path().join("libsample.so"));
    for (padding, is_read) in [(900 << 10, true), (1 << 20, false)] {
        let folder = listed_sample(&hash);
        let manifest = folder.path().join("plugin-manifest.toml");
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(&manifest, format!("{text}#{}\n", "x".repeat(padding))).unwrap();
        let (_, ended) = run_with(folder.path());
        if is_read {
            ended.exits(0);
        } else {
            ended.exits(7).says("cannot read the manifest").says("longer than 1 MiB");
        }
    }
}

/// The bytes that were examined are those that are loaded: a library that is replaced in between is
/// refused, and loads when the command is run again.
#[test]
fn a_library_that_changes_between_hash_and_load_is_refused() {
    let folder = sample_folder();
    let library = folder.path().join("libsample.so");
    let other = folder.path().join("other");
    let mut bytes = fs::read(&library).unwrap();
    bytes.extend(b"other bytes behind the same library");
    fs::write(&other, bytes).unwrap();
    let workplace = Workplace::new();
    workplace.put("job.toml", JOB);
    let mut command = workplace.command();
    // The child process that examines the library replaces it.
    let order = format!("replace={} by {}", library.display(), other.display());
    command.env("SAMPLE_AT_LOAD", order);
    command.args(["run", "job.toml", UNSIGNED, "--plugins", folder.path().to_str().unwrap()]);
    let ended = Ended::from(command.output().unwrap());
    ended.exits(7).says("[PLUGIN-HASH]").says("the library was changed while it was being loaded");
    assert!(!other.exists(), "it was not replaced");
    assert!(!workplace.path().join("out.jsonl").exists());
    let run = ["run", "job.toml", UNSIGNED, "--plugins", folder.path().to_str().unwrap()];
    workplace.run(&run).exits(0);
}

/// The child process that examines a library, whoever wrote it, has no variable that holds a secret.
#[test]
fn a_library_that_is_examined_sees_no_secrets() {
    let (workplace, folder) = (Workplace::new(), sample_folder());
    let told = workplace.path().join("environment");
    let secret = "password = { env = \"SHOP_PASSWORD\" }\n";
    workplace.put("job.toml", JOB.replacen("columns", &format!("{secret}columns"), 1));
    workplace.put(
        "connections.toml",
        "[other]\nplugin = \"sample\"\npassword = { env = \"OTHER_PASSWORD\" }\n",
    );
    let mut command = workplace.command();
    command
        .env("SAMPLE_AT_LOAD", format!("tell the environment={}", told.display()))
        .env("SHOP_PASSWORD", "canary-of-the-shop")
        .env("OTHER_PASSWORD", "canary-of-another")
        .args(["run", "job.toml", UNSIGNED, "--plugins", folder.path().to_str().unwrap()]);
    Ended::from(command.output().unwrap()).exits(0);
    let environment = fs::read_to_string(told).unwrap();
    assert!(environment.contains("SAMPLE_AT_LOAD="), "{environment}");
    for hidden in ["SHOP_PASSWORD", "OTHER_PASSWORD", "canary"] {
        assert!(!environment.contains(hidden), "{environment}");
    }
}

#[test]
fn a_relative_folder_of_the_environment_is_not_searched() {
    let workplace = Workplace::new();
    fs::create_dir(workplace.path().join("plugins")).unwrap();
    let library = sample_folder();
    fs::copy(library.path().join("libsample.so"), workplace.path().join("plugins/libsample.so"))
        .unwrap();
    let mut command = workplace.command();
    command.env("TRANSLOAD_PLUGIN_PATH", "plugins").args(["plugin", "info", "sample", UNSIGNED]);
    let ended = Ended::from(command.output().unwrap());
    ended.exits(7).says("there is no plugin `sample`");
    command = workplace.command();
    command.env("TRANSLOAD_PLUGIN_PATH", "plugins").args(["plugin", "list"]);
    let ended = Ended::from(command.output().unwrap());
    ended.exits(0).says("`plugins` in TRANSLOAD_PLUGIN_PATH is not searched: it is relative");
}
