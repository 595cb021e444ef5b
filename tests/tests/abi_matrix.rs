//! Loads libraries with other interfaces, damaged libraries, and files that are not libraries.
//!
//! The fixtures are variants of `tests/abi/frozen`, a plugin with a frozen copy of the boundary.
//! The host survives all of them except for the case in the last test: a plugin that ends the
//! process after it has been loaded (an unguarded panic, an abort, a wild pointer).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed helper is a failed test")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
};

use transload::testing::{Catalog, Entry, Role, SearchPath, Status, check};
use transload_plugin_api::{
    Cancel, Count, Digest, DigestRequest, Error, ErrorKind, Host, Options, Plugin, Position,
    Secret, Secrets, SplitRequest, TableRequest,
};
use transload_tests::{built, program};

const VARIANTS: [&str; 21] = [
    "same",
    "older",
    "old",
    "recent",
    "late",
    "newer",
    "major",
    "layout",
    "signature",
    "order",
    "no-unwind",
    "no-root",
    "undefined",
    "panics",
    "drop-panics",
    "aborts",
    "exits",
    "hangs",
    "prints",
    "garbled",
    "insane",
];

/// Variants that are built as a host, too.
const HOSTS: [&str; 7] = ["same", "older", "old", "recent", "late", "major", "layout"];

/// A folder with one folder per variant, built once; next to the program's own build folder.
fn fixtures() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let target = built().parent().unwrap().join("abi-fixtures");
        for variant in VARIANTS {
            build(variant, &target);
            let folder = target.join("variants").join(variant);
            fs::create_dir_all(&folder).unwrap();
            // By rename, as files of plugins should be replaced.
            fs::copy(target.join("debug/libfrozen.so"), folder.join("fresh")).unwrap();
            fs::rename(folder.join("fresh"), folder.join("libfrozen.so")).unwrap();
            if HOSTS.contains(&variant) {
                fs::copy(target.join("debug/frozen-host"), folder.join("frozen-host")).unwrap();
            }
        }
        target.join("variants")
    })
}

fn build(variant: &str, target: &Path) {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--locked", "--target-dir"]).arg(target);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("abi/frozen"));
    let host = if HOSTS.contains(&variant) { "host" } else { "" };
    command.args(["--features", &format!("{variant} {host}").replace("same", "")]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{variant}: {}", String::from_utf8_lossy(&output.stderr));
}

fn search(folders: &[PathBuf]) -> SearchPath {
    SearchPath::only(folders).probe_with(program())
}

fn open(variants: &[&str]) -> Catalog {
    let folders: Vec<_> = variants.iter().map(|variant| fixtures().join(variant)).collect();
    Catalog::open(&search(&folders))
}

fn reason(entry: &Entry) -> &Error {
    match &entry.status {
        Status::Refused { reason } => reason,
        other => panic!("{} is {other:?}", entry.path.display()),
    }
}

struct Password;

impl Secrets for Password {
    fn secret(&self, _key: &str) -> transload_plugin_api::Result<Option<Secret>> {
        Ok(Some(Secret::new("open sesame")))
    }
}

/// Uses everything that a plugin of 1.0 offers.
fn exercise(plugin: &Arc<dyn Plugin>) {
    let host = Host::new(Arc::new(Password), Cancel::new());
    let reader = plugin.reader(Options::default(), host).unwrap();
    assert_eq!(reader.check().unwrap()[0].detail, "open sesame");
    assert_eq!(reader.schema().unwrap().columns, vec![]);
    assert_eq!(reader.produces(&[]).unwrap(), vec![]);
    let splits = reader.splits(&SplitRequest::new(1, vec![])).unwrap();
    let mut task = reader.open(&splits[0], &[], None).unwrap();
    let batch = task.next_batch().unwrap().unwrap();
    assert_eq!((batch.batch.num_rows(), batch.bytes, batch.position.0), (3, 42, vec![7]));
    assert!(task.next_batch().unwrap().is_none());
    let mut rest = reader.open(&splits[0], &[], Some(&Position(vec![7]))).unwrap();
    assert!(rest.next_batch().unwrap().is_none());

    let asked = Cancel::new();
    asked.cancel();
    let late = plugin.reader(Options::default(), Host::new(Arc::new(()), asked));
    assert_eq!(late.err().unwrap().kind, ErrorKind::Unsupported);
    let writer = plugin.writer(Options::default(), Host::detached());
    assert_eq!(writer.err().unwrap().message, "the frozen plugin has no writer");
}

#[test]
fn t61_older_newer_and_same_work_side_by_side() {
    let catalog = open(&["same", "older", "old", "recent", "late", "newer", "prints"]);
    for (name, abi) in [
        ("frozen", "1.4"),
        ("frozen-older", "1.0"),
        ("frozen-old", "1.1"),
        ("frozen-recent", "1.2"),
        ("frozen-late", "1.3"),
        ("frozen-newer", "1.5"),
    ] {
        let entry = catalog.entry(name, Role::Reader).unwrap();
        assert_eq!(entry.abi.unwrap().to_string(), abi);
        let plugin = catalog.plugin(name, Role::Reader).unwrap();
        assert_eq!(plugin.descriptor().name, name);
        exercise(&plugin);
    }
    // `prints` has the same name as `same` and is found later.
    let shadowed = &catalog.list()[6];
    assert!(
        matches!(&shadowed.status, Status::Shadowed { by } if by.ends_with("same/libfrozen.so"))
    );
}

#[test]
fn t61_what_an_older_plugin_lacks_is_unsupported() {
    let reader_of = |variant: &str, name: &str| {
        let plugin = open(&[variant]).plugin(name, Role::Reader).unwrap();
        plugin.reader(Options::default(), Host::detached()).unwrap()
    };
    assert_eq!(reader_of("same", "frozen").discover().unwrap()[0].name, "t");
    let error = reader_of("older", "frozen-older").discover().unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Unsupported, "PLUGIN-OLD"));
    assert_eq!(error.message, "`discover` came with plugin ABI 1.1, this plugin speaks 1.0");
}

#[test]
fn t61_an_older_plugin_counts_nothing() {
    for (variant, name, counted) in [
        ("older", "frozen-older", vec![]),
        ("old", "frozen-old", vec![]),
        ("same", "frozen", vec![Count::new("calls", 5)]),
        ("newer", "frozen-newer", vec![Count::new("calls", 5)]),
    ] {
        let plugin = open(&[variant]).plugin(name, Role::Reader).unwrap();
        let reader = plugin.reader(Options::default(), Host::detached()).unwrap();
        assert_eq!(reader.counts().unwrap(), counted, "{variant}");
    }
}

#[test]
fn t61_an_older_plugin_digests_nothing() {
    let request = DigestRequest::default();
    for (variant, name, digest) in [
        ("recent", "frozen-recent", None),
        ("same", "frozen", Some(Digest { rows: 3, checksum: "ff".to_owned(), parts: vec![] })),
    ] {
        let plugin = open(&[variant]).plugin(name, Role::Reader).unwrap();
        let reader = plugin.reader(Options::default(), Host::detached()).unwrap();
        assert_eq!(reader.digest(&request).unwrap(), digest, "{variant}");
    }
}

#[test]
fn t61_the_tables_of_an_older_plugin_are_what_it_discovers() {
    let request = TableRequest { patterns: vec!["t".to_owned()], ..TableRequest::new(10) };
    for (variant, name, table) in [("late", "frozen-late", "t"), ("same", "frozen", "s.t")] {
        let plugin = open(&[variant]).plugin(name, Role::Reader).unwrap();
        let reader = plugin.reader(Options::default(), Host::detached()).unwrap();
        let page = reader.tables(&request).unwrap();
        assert_eq!((page.tables[0].name.as_str(), page.next), (table, None), "{variant}");
    }
    let plugin = open(&["older"]).plugin("frozen-older", Role::Reader).unwrap();
    let reader = plugin.reader(Options::default(), Host::detached()).unwrap();
    assert_eq!(reader.tables(&request).unwrap_err().code, "PLUGIN-OLD");
}

/// The reverse: a library of today in hosts of every version, which copy its rows.
#[test]
fn t61_hosts_of_every_version_run_a_plugin_of_today() {
    let library = built().join("libtransload_plugin_generator.so");
    let run = |variant: &str| {
        let output = Command::new(fixtures().join(variant).join("frozen-host"))
            .arg(&library)
            .args([r#"{"values": {"rows": 20000, "specs": {"id": "int64"}}}"#, r#"{"values": {}}"#])
            .arg(r#"[{"name": "id", "type": "int64", "nullable": false}]"#)
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.stderr.is_empty(), "{variant}: {output:?}");
        (output.status.code(), printed)
    };
    let copied = "read 20000, inserted 20000, outcome \"committed\"\n";
    for variant in ["same", "older", "old", "recent"] {
        assert_eq!(run(variant), (Some(0), copied.to_owned()), "{variant}");
    }
    for (variant, reason) in
        [("major", "versions differ: 2.0.0 and 1.4.0\n"), ("layout", "types differ\n")]
    {
        assert_eq!(run(variant), (Some(3), reason.to_owned()), "{variant}");
    }
}

#[test]
fn t61_other_interfaces_and_builds_are_refused_with_the_reason() {
    for (variant, code, message) in [
        ("major", "PLUGIN-ABI", "built for plugin ABI 2.0, this program speaks 1.4"),
        (
            "layout",
            "PLUGIN-LAYOUT",
            "expected type `u64`, found `u32` at `root.reader.vtable.open.vtable.next_batch.bytes`",
        ),
        ("signature", "PLUGIN-LAYOUT", "another function signature at `root.reader.vtable.splits`"),
        ("order", "PLUGIN-LAYOUT", "expected field `reader`, found `writer` at `root`"),
        ("no-unwind", "PLUGIN-ABORTS", "built with `panic = \"abort\"`"),
        ("no-root", "PLUGIN-NOT-ONE", "a shared library, but it exports no plugin"),
        ("undefined", "PLUGIN-LOAD", "cannot load the library"),
        ("panics", "PLUGIN-PROBE", "loading it ended the process (signal 6, abort)"),
        ("aborts", "PLUGIN-PROBE", "loading it ended the process (signal 6, abort)"),
        ("exits", "PLUGIN-PROBE", "loading it ended the process (exit code 0)"),
        ("hangs", "PLUGIN-PROBE", "still loading after 10 s"),
        ("garbled", "PLUGIN-PROTOCOL", "unreadable descriptor: "),
        ("insane", "PLUGIN-DESCRIPTOR", "its descriptor is inconsistent: name: `No Name`"),
    ] {
        let catalog = open(&[variant]);
        let [entry] = catalog.list() else { panic!("{variant}: {} entries", catalog.list().len()) };
        let reason = reason(entry);
        assert_eq!(reason.code, code, "{variant}: {reason}");
        assert!(reason.message.contains(message), "{variant}: {reason}");
        assert!(
            reason.message.len() < 300 && !reason.message.contains('\n'),
            "{variant}: {reason}"
        );
        let refused = catalog.plugin(&entry.name, Role::Reader).err().unwrap();
        assert!(refused.message.contains("was refused: "), "{refused}");
        // `check` examines the same library stage by stage: the last stage fails with the same
        // message.
        let findings = check(&entry.path, &search(&[]));
        if code != "PLUGIN-DESCRIPTOR" {
            let (last, passed) = findings.split_last().unwrap();
            assert!(!last.ok && passed.iter().all(|finding| finding.ok), "{variant}: {findings:?}");
            assert!(last.detail.starts_with(&reason.message), "{variant}: {}", last.detail);
        }
    }
}

#[test]
fn causes_name_what_the_loader_missed() {
    let catalog = open(&["undefined"]);
    let causes = reason(&catalog.list()[0]).causes.join(" ");
    assert!(causes.contains("no_such_function"), "{causes}");
}

#[test]
fn check_tells_every_stage_of_a_good_library() {
    let findings = check(&fixtures().join("same/libfrozen.so"), &search(&[]));
    let stages: Vec<&str> = findings.iter().map(|finding| finding.stage.as_str()).collect();
    let expected = [
        "file",
        "elf",
        "access",
        "hash",
        "trust",
        "manifest",
        "load",
        "layout",
        "name",
        "options",
        "addresses",
        "codes",
        "types",
        "modes",
    ];
    assert_eq!(stages, expected);
    assert!(findings.iter().all(|finding| finding.ok), "{findings:?}");
    assert!(findings[7].detail.contains("built for plugin ABI 1.4"), "{}", findings[7].detail);
    let gone = check(Path::new("/no/such/lib.so"), &search(&[]));
    assert_eq!((gone.len(), gone[0].stage.as_str(), gone[0].ok), (1, "file", false));
}

// ------------------------------------------------------------------------------ files, no plugins

/// The C library of this process: a valid shared library, but not a plugin.
fn c_library() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    paths.map(PathBuf::from).find(|path| path.to_string_lossy().contains("libc")).unwrap()
}

#[test]
fn t61_what_is_no_plugin_is_listed_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    put("a-empty.so", b"");
    put("b-text.so", b"[plugin]\nname = \"x\"\n");
    put("c-garbage.so", &[0x5a; 4096]);
    put("d-magic.so", b"\x7fELF");
    put("e-garbage-after-magic.so", &[b"\x7fELF".as_slice(), &[0x5a; 4096]].concat());
    fs::copy(c_library(), folder.path().join("f-libc.so")).unwrap();
    fs::copy(program(), folder.path().join("g-program.so")).unwrap();
    put("ignored.txt", b"not named like a library");
    fs::copy(fixtures().join("same/libfrozen.so"), folder.path().join("z-good.so")).unwrap();

    let catalog = Catalog::open(&search(&[folder.path().to_owned()]));
    let (good, bad) = catalog.list().split_last().unwrap();
    assert!(good.is_ok());
    let messages: Vec<&str> = bad.iter().map(|entry| reason(entry).message.as_str()).collect();
    assert_eq!(messages[0], "the file is empty");
    assert_eq!(messages[1], "not a shared library (no ELF header)");
    assert_eq!(messages[2], "not a shared library (no ELF header)");
    assert!(messages[3].starts_with("the file is damaged: its header"), "{}", messages[3]);
    assert!(messages[4].starts_with("the file is damaged: its header"), "{}", messages[4]);
    assert_eq!(messages[5], "a shared library, but it exports no plugin");
    assert_eq!(messages[6], "a shared library, but it exports no plugin"); // position-independent
    assert_eq!(messages.len(), 7);
    exercise(&catalog.plugin("frozen", Role::Reader).unwrap());
}

#[test]
fn t61_truncated_libraries_are_refused_before_they_are_loaded() {
    let whole = fs::read(fixtures().join("same/libfrozen.so")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // Evenly over the file, and byte by byte near its beginning and end.
    let evenly = (0..120).map(|index| whole.len() * index / 120);
    let near_end = (1..=20).map(|less| whole.len() - less);
    let lengths: Vec<usize> = evenly.chain(near_end).chain([63, 64, 65, 119, 120]).collect();
    for length in &lengths {
        fs::write(folder.path().join(format!("t{length:08}.so")), &whole[..*length]).unwrap();
    }
    // No program for probing: these refusals must not need it.
    let search = SearchPath::only(&[folder.path().to_owned()]).probe_with("/no/such/program");
    let catalog = Catalog::open(&search);
    assert_eq!(catalog.list().len(), lengths.len());
    for entry in catalog.list() {
        let code = reason(entry).code.as_str();
        assert!(["PLUGIN-DAMAGED", "PLUGIN-NOT-ONE"].contains(&code), "{entry:?}");
    }
}

/// Copies of a library with one flipped bit: in the headers, then evenly over the file.
fn flipped(folder: &Path, library: &Path) -> usize {
    let whole = fs::read(library).unwrap();
    let headers = (0..64).map(|index| index * 9);
    let evenly = (0..128).map(|index| 1024 + (whole.len() - 1024) * index / 128);
    let positions: Vec<usize> = headers.chain(evenly).collect();
    for (index, position) in positions.iter().enumerate() {
        let mut copy = whole.clone();
        copy[*position] ^= 1 << (index % 8);
        fs::write(folder.join(format!("f{position:08}.so")), copy).unwrap();
    }
    positions.len()
}

#[test]
fn t61_flipped_bits_never_end_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let count = flipped(folder.path(), &fixtures().join("same/libfrozen.so"));
    let catalog = Catalog::open(&search(&[folder.path().to_owned()]));
    assert_eq!(catalog.list().len(), count);
    let refused: Vec<&Error> = catalog
        .list()
        .iter()
        .filter_map(|entry| match &entry.status {
            Status::Refused { reason } => Some(reason),
            _ => None,
        })
        .collect();
    // Some must be refused before the probe, and some end the child process; a bit that is never
    // read may remain undetected.
    for code in ["PLUGIN-DAMAGED", "PLUGIN-PROBE"] {
        assert!(refused.iter().any(|reason| reason.code == code), "none was {code}");
    }
}

#[test]
fn t61_flipped_bits_are_all_seen_where_the_manifest_has_the_hash() {
    let folder = tempfile::tempdir().unwrap();
    let library = fixtures().join("same/libfrozen.so");
    let count = flipped(folder.path(), &library);
    let findings = check(&library, &search(&[]));
    let hash = findings[3].detail.strip_prefix("sha256 ").unwrap();
    let mut manifest = String::new();
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        manifest.push_str(&format!(
            "[[plugin]]\nname = \"p{file}\"\nversion = \"0.9.0\"\nroles = [\"reader\"]\n\
             library = \"{file}\"\nabi = \"1.4\"\nsha256 = \"{hash}\"\n"
        ));
    }
    fs::write(folder.path().join("plugin-manifest.toml"), manifest).unwrap();
    let search = SearchPath::only(&[folder.path().to_owned()]).probe_with("/no/such/program");
    let catalog = Catalog::open(&search);
    assert_eq!(catalog.list().len(), count);
    for entry in catalog.list() {
        let code = reason(entry).code.as_str();
        assert!(["PLUGIN-HASH", "PLUGIN-DAMAGED", "PLUGIN-NOT-ONE"].contains(&code), "{entry:?}");
    }
    assert!(catalog.list().iter().any(|entry| reason(entry).code == "PLUGIN-HASH"));
}

// ------------------------------------------------------------------------------ manifest and cache

/// A fresh `plugins` folder with one valid library, and the folder above it.
fn installation() -> (tempfile::TempDir, PathBuf) {
    let above = tempfile::tempdir().unwrap();
    let plugins = above.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    fs::copy(fixtures().join("same/libfrozen.so"), plugins.join("libfrozen.so")).unwrap();
    (above, plugins)
}

#[test]
fn the_manifest_above_or_in_the_folder_speaks_for_the_library() {
    let good = "[[plugin]]\nname = \"frozen\"\nversion = \"0.9.0\"\nroles = [\"reader\"]\n\
                library = \"libfrozen.so\"\nabi = \"1.4\"\n";
    let wrong_hash = format!("{good}sha256 = \"{}\"\n", "0".repeat(64));
    let other = good.replace("libfrozen", "libother").replace("frozen", "other");
    for (text, refusal) in [
        (good.to_owned(), None),
        (String::new(), None),
        (wrong_hash, Some("PLUGIN-HASH")),
        (good.replace("0.9.0", "1.0.0"), Some("PLUGIN-MANIFEST")),
        (good.replace("[\"reader\"]", "[\"writer\"]"), Some("PLUGIN-MANIFEST")),
        (good.replace("\"frozen\"", "\"thawed\""), Some("PLUGIN-MANIFEST")),
        (good.replace("\"1.4\"", "\"1.0\""), Some("PLUGIN-MANIFEST")),
        (format!("{good}licence = \"x\"\n"), Some("PLUGIN-MANIFEST")),
        (other, None),
    ] {
        for above_it in [true, false] {
            let (above, plugins) = installation();
            let folder = if above_it { above.path() } else { &plugins };
            fs::write(folder.join("plugin-manifest.toml"), &text).unwrap();
            let catalog = Catalog::open(&search(&[plugins]));
            let entry = &catalog.list()[0];
            match refusal {
                None => assert!(entry.is_ok(), "{text}: {entry:?}"),
                Some(code) => assert_eq!(reason(entry).code, code, "{text}"),
            }
            // The list of a folder that is not the installation's says nothing about trust.
            assert_eq!(entry.is_unsigned(), entry.is_ok(), "{text}");
            let missing = catalog.list().get(1).map(|entry| reason(entry).code.as_str());
            assert_eq!(missing, text.contains("libother").then_some("PLUGIN-MISSING"), "{text}");
            assert_eq!(catalog.problems().len(), usize::from(text.contains("licence")), "{text}");
        }
    }
}

#[test]
fn probes_are_remembered_until_the_file_or_the_cache_changes() {
    let (above, plugins) = installation();
    let cache = above.path().join("cache/probe.json");
    let folders = [plugins.clone()];
    let probing = search(&folders).cache_in(&cache);
    let remembering = || SearchPath::only(&folders).probe_with("/no/such/program").cache_in(&cache);
    let usable = |search: &SearchPath| Catalog::open(search).list()[0].is_ok();

    assert!(!usable(&remembering()), "nothing is remembered yet");
    assert!(usable(&probing));
    assert!(usable(&remembering()));
    let library = plugins.join("libfrozen.so");
    fs::copy(fixtures().join("prints/libfrozen.so"), plugins.join("fresh")).unwrap();
    fs::rename(plugins.join("fresh"), &library).unwrap();
    assert!(!usable(&remembering()), "another file at the same place");
    assert!(usable(&probing));
    for content in ["", "{", "[]", "{\"/x\": 1}"] {
        fs::write(&cache, content).unwrap();
        assert!(!usable(&remembering()), "a corrupt cache is an empty one");
        fs::write(&cache, content).unwrap();
        assert!(usable(&probing));
    }
    let unwritable = search(&folders).cache_in("/proc/no/such/cache.json");
    assert!(usable(&unwritable));
}

#[test]
fn a_named_folder_that_is_not_there_is_a_problem() {
    let catalog = Catalog::open(&search(&[PathBuf::from("/no/such/folder")]));
    assert_eq!(catalog.problems()[0].code, "PLUGIN-FOLDER");
    assert_eq!(catalog.problems()[0].place.as_deref(), Some("/no/such/folder"));
    assert!(catalog.list().is_empty());
}

// ------------------------------------------------------------------- what cannot be survived

/// A plugin that was not made with the export macro and panics in a call ends the process; the
/// process cannot prevent it. Runs in a child process, which is this test itself.
#[test]
fn t61_an_unguarded_panic_after_loading_ends_the_process() {
    const CHILD: &str = "TRANSLOAD_TEST_UNGUARDED";
    if std::env::var_os(CHILD).is_some() {
        let plugin = open(&["drop-panics"]).plugin("frozen", Role::Reader).unwrap();
        drop(plugin.reader(Options::default(), Host::detached()).unwrap());
        return;
    }
    let name = "t61_an_unguarded_panic_after_loading_ends_the_process";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(output.status.signal(), Some(6), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("this panic is not caught"));
}
