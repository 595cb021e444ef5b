//! Plugins of vendors: what is signed, pinned or neither; and that nothing of a library runs that is
//! refused. Small libraries in C create a file when they are loaded; `minisign` signs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test may fail loudly anywhere

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use serde_json::Value;
use transload::testing::{Catalog, Entry, SearchPath, Status, Trust};
use transload_plugin_api::{Error, abi::ROOT_SYMBOL};
use transload_tests::{Ended, Workplace, built, sample_folder};

const MANIFEST: &str = "plugin-manifest.toml";

/// Runs a tool that must be there: tests/servers/install brings it.
fn tool(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(name).args(arguments).output().unwrap_or_else(|error| {
        panic!("{name}: {error}; run tests/servers/install");
    });
    assert!(output.status.success(), "{name} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A pair of keys of minisign, without a password: `NAME.pub` and `NAME.key`.
fn keys(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (public, secret) = (folder.join(format!("{name}.pub")), folder.join(format!("{name}.key")));
    tool("minisign", &["-G", "-W", "-p", public.to_str().unwrap(), "-s", secret.to_str().unwrap()]);
    (public, secret)
}

fn sign(manifest: &Path, key: &Path, comment: &str) {
    let (manifest, key) = (manifest.to_str().unwrap(), key.to_str().unwrap());
    tool("minisign", &["-S", "-s", key, "-m", manifest, "-t", comment]);
}

fn sha256(file: &Path) -> String {
    tool("sha256sum", &[file.to_str().unwrap()])[..64].to_owned()
}

fn set_mode(place: &Path, mode: u32) {
    fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
}

// ------------------------------------------------------------------------ what is refused

/// A vendor with libraries in C, a plugins folder, and what the operator trusts.
struct Vendor {
    folder: tempfile::TempDir,
    /// Which library creates it when it is loaded.
    marker: PathBuf,
    key: PathBuf,
    public: String,
    made: AtomicU32,
}

impl Vendor {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("marker");
        let source = format!(
            "#include <fcntl.h>\n#include <math.h>\n\
             __attribute__((constructor)) static void at_load(void) {{ creat(\"{}\", 0644); }}\n\
             int {ROOT_SYMBOL}(void) {{ return 0; }}\n\
             double used(double x) {{ return cos(x); }}\n",
            marker.display()
        );
        fs::write(folder.path().join("plugin.c"), source).unwrap();
        for name in ["plugins", "config"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let (public, key) = keys(folder.path(), "acme");
        let public = fs::read_to_string(public).unwrap().lines().nth(1).unwrap().to_owned();
        let vendor = Self { folder, marker, key, public, made: AtomicU32::new(0) };
        vendor.trust(&format!("[publisher.acme]\nkeys = [\"{}\"]\n", vendor.public));
        vendor
    }

    fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    fn trust(&self, text: &str) {
        fs::write(self.folder.path().join("config/trust.toml"), text).unwrap();
    }

    /// Builds the library with these flags.
    fn library(&self, flags: &[&str]) -> PathBuf {
        let number = self.made.fetch_add(1, Relaxed);
        let library = self.folder.path().join(format!("built-{number}.so"));
        let source = self.folder.path().join("plugin.c");
        let fixed = ["-shared", "-fPIC", "-o", library.to_str().unwrap(), source.to_str().unwrap()];
        tool("gcc", &[&fixed, flags].concat());
        library
    }

    /// A signed plugin's folder whose manifest says what is so.
    fn package(&self, library: &Path) -> (String, PathBuf) {
        let name = format!("p{:04}", self.made.fetch_add(1, Relaxed));
        let folder = self.plugins().join(&name).join("1.4.2");
        fs::create_dir_all(&folder).unwrap();
        fs::copy(library, folder.join("lib.so")).unwrap();
        set_mode(&folder.join("lib.so"), 0o644);
        let size = library.metadata().unwrap().len();
        let hash = sha256(library);
        let text = format!(
            "manifest_version = 1\nname = \"{name}\"\nversion = \"1.4.2\"\npublisher = \"acme\"\n\
             license = \"MIT\"\nroles = [\"reader\"]\n[abi]\nname = \"transload-plugin-api\"\n\
             version = \"1.3\"\n[[library]]\nplatform = \"linux_{}\"\npath = \"lib.so\"\n\
             sha256 = \"{hash}\"\nsize = {size}\nneeded = [\"libc.so.6\"]\n[capabilities]\n\
             network = [\"tcp:1521\"]\n",
            if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }
        );
        fs::write(folder.join(MANIFEST), text).unwrap();
        self.sign(&folder);
        (name, folder)
    }

    /// Changes the manifest, and signs it again.
    fn says(&self, folder: &Path, from: &str, to: &str) {
        change(&folder.join(MANIFEST), from, to);
        self.sign(folder);
    }

    fn sign(&self, folder: &Path) {
        let name = folder.parent().unwrap().file_name().unwrap().to_str().unwrap();
        sign(&folder.join(MANIFEST), &self.key, &format!("{name}@1.4.2"));
    }

    fn catalog(&self, allow_unsigned: bool) -> Catalog {
        let search = SearchPath::only(&[self.plugins()])
            .decided_in(self.folder.path().join("config"))
            .allow_unsigned(allow_unsigned)
            .probe_with(built().join("transload"));
        Catalog::open(&search)
    }
}

fn change(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from}: {text}");
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

fn entry<'a>(catalog: &'a Catalog, name: &str) -> &'a Entry {
    let found = catalog.list().iter().find(|entry| entry.name == name);
    found.unwrap_or_else(|| panic!("no `{name}` in {:#?}", catalog.list()))
}

fn reason(entry: &Entry) -> &Error {
    match &entry.status {
        Status::Refused { reason } => reason,
        other => panic!("{} is {other:?}", entry.name),
    }
}

/// What is done to a vendor's folder, the code with which it is refused, a part of the message, and the
/// status that is shown.
type Harm<'a> = (&'a str, Box<dyn Fn(&Path) + 'a>, &'a str, &'a str, Option<Trust>);

#[test]
fn nothing_of_a_refused_library_runs() {
    let vendor = Vendor::new();
    let library = vendor.library(&[]);
    let (_, stranger) = keys(vendor.folder.path(), "stranger");
    let with = |flags: &'static [&'static str]| {
        let vendor = &vendor;
        move |folder: &Path| {
            let built = vendor.library(flags);
            fs::copy(&built, folder.join("lib.so")).unwrap();
            let (old, size) =
                (sha256(&library_of(vendor)), library_of(vendor).metadata().unwrap().len());
            change(&folder.join(MANIFEST), &old, &sha256(&built));
            let new = built.metadata().unwrap().len();
            vendor.says(folder, &format!("size = {size}"), &format!("size = {new}"));
        }
    };
    let away = vendor.folder.path().join("away");
    let harms: Vec<Harm<'_>> = vec![
        (
            "manifest",
            Box::new(|folder| change(&folder.join(MANIFEST), "tcp:1521", "tcp:1")),
            "PLUGIN-SIGNATURE",
            "not the one that was signed",
            Some(Trust::Modified),
        ),
        (
            "unknown key",
            Box::new(|folder| vendor.says(folder, "license", "licence = 1\nlicense")),
            "PLUGIN-MANIFEST",
            "unknown field `licence`",
            None,
        ),
        (
            "other signer",
            Box::new(|folder| sign(&folder.join(MANIFEST), &stranger, "x")),
            "PLUGIN-PUBLISHER",
            "which `acme` does not have",
            Some(Trust::Unsigned),
        ),
        (
            "other publisher",
            Box::new(|folder| vendor.says(folder, "\"acme\"", "\"other\"")),
            "PLUGIN-PUBLISHER",
            "publisher `other`, key",
            Some(Trust::Unsigned),
        ),
        (
            "comment",
            Box::new(|folder| sign(&folder.join(MANIFEST), &vendor.key, "p@1.4.1")),
            "PLUGIN-SIGNATURE",
            "does not name `p",
            Some(Trust::Modified),
        ),
        (
            "named key",
            Box::new(|folder| vendor.says(folder, "license", "key_id = \"00\"\nlicense")),
            "PLUGIN-SIGNATURE",
            "the manifest names key 00",
            Some(Trust::Modified),
        ),
        (
            "no signature",
            Box::new(|folder| fs::remove_file(signature(folder)).unwrap()),
            "PLUGIN-UNSIGNED",
            "neither signed nor pinned",
            Some(Trust::Unsigned),
        ),
        (
            "empty signature",
            Box::new(|folder| fs::write(signature(folder), "").unwrap()),
            "PLUGIN-SIGNATURE",
            "not one of minisign",
            Some(Trust::Modified),
        ),
        (
            "another ABI",
            Box::new(|folder| vendor.says(folder, "\"1.3\"", "\"2.0\"")),
            "PLUGIN-ABI",
            "built for transload-plugin-api 2.0",
            Some(Trust::WrongAbi),
        ),
        (
            "newer program",
            Box::new(|folder| vendor.says(folder, "license", "min_host = \"99.0.0\"\nlicense")),
            "PLUGIN-HOST",
            "it needs transload 99.0.0",
            Some(Trust::WrongAbi),
        ),
        (
            "newer manifest",
            Box::new(|folder| vendor.says(folder, "_version = 1", "_version = 2")),
            "PLUGIN-MANIFEST",
            "manifest_version is 2",
            None,
        ),
        (
            "platform",
            Box::new(|folder| vendor.says(folder, "linux_", "linux_musl_")),
            "PLUGIN-PLATFORM",
            "it has no library for",
            Some(Trust::WrongAbi),
        ),
        (
            "library's name",
            Box::new(|folder| vendor.says(folder, "\"lib.so\"", "\"gone.so\"")),
            "PLUGIN-MISSING",
            "`gone.so` is missing",
            Some(Trust::Signed),
        ),
        (
            "size",
            Box::new(|folder| vendor.says(folder, "size = ", "size = 1")),
            "PLUGIN-HASH",
            "bytes, the manifest says 1",
            Some(Trust::Modified),
        ),
        (
            "needed more",
            Box::new(with(&["-Wl,--no-as-needed", "-lm"])),
            "PLUGIN-NEEDED",
            "it needs `libm.so.6`",
            Some(Trust::Signed),
        ),
        (
            "needed less",
            Box::new(|folder| {
                vendor.says(folder, "[\"libc.so.6\"]", "[\"libc.so.6\", \"libz.so\"]")
            }),
            "PLUGIN-NEEDED",
            "lists `libz.so`, which it does not need",
            Some(Trust::Signed),
        ),
        (
            "run path",
            Box::new(with(&["-Wl,-rpath,/tmp"])),
            "PLUGIN-LINKED",
            "it has a run path",
            Some(Trust::Signed),
        ),
        (
            "executable stack",
            Box::new(with(&["-Wl,-z,execstack"])),
            "PLUGIN-LINKED",
            "it has an executable stack",
            Some(Trust::Signed),
        ),
        (
            "writable library",
            Box::new(|folder| set_mode(&folder.join("lib.so"), 0o666)),
            "PLUGIN-ACCESS",
            "can be changed by other users",
            Some(Trust::Signed),
        ),
        (
            "writable folder",
            Box::new(|folder| set_mode(folder, 0o775)),
            "PLUGIN-ACCESS",
            "can be changed by other users",
            None,
        ),
        (
            "writable folder above",
            Box::new(|folder| set_mode(folder.parent().unwrap(), 0o777)),
            "PLUGIN-ACCESS",
            "can be changed by other users",
            None,
        ),
        (
            "link to a library",
            Box::new(|folder| {
                fs::rename(folder.join("lib.so"), &away).unwrap();
                symlink(&away, folder.join("lib.so")).unwrap();
            }),
            "PLUGIN-ACCESS",
            "is a symbolic link",
            Some(Trust::Signed),
        ),
        (
            "link to a folder",
            Box::new(|folder| {
                let real = vendor.folder.path().join("real");
                fs::rename(folder, &real).unwrap();
                symlink(&real, folder).unwrap();
            }),
            "PLUGIN-ACCESS",
            "is a symbolic link",
            None,
        ),
        (
            "hard link that others can write",
            Box::new(|folder| {
                let other = vendor.folder.path().join("hard");
                fs::copy(folder.join("lib.so"), &other).unwrap();
                set_mode(&other, 0o664);
                fs::remove_file(folder.join("lib.so")).unwrap();
                fs::hard_link(&other, folder.join("lib.so")).unwrap();
            }),
            "PLUGIN-ACCESS",
            "can be changed by other users",
            Some(Trust::Signed),
        ),
        (
            "long manifest",
            Box::new(|folder| {
                let more = format!("license = \"MIT\" # {}", "x".repeat(70_000));
                vendor.says(folder, "license = \"MIT\"", &more);
            }),
            "PLUGIN-MANIFEST",
            "longer than 64 KiB",
            None,
        ),
        (
            "pipe",
            Box::new(|folder| {
                fs::remove_file(folder.join("lib.so")).unwrap();
                tool("mkfifo", &["-m", "600", folder.join("lib.so").to_str().unwrap()]);
            }),
            "PLUGIN-FILE",
            "not a regular file",
            Some(Trust::Signed),
        ),
    ];
    let mut expected = Vec::new();
    for (what, harm, code, message, trust) in &harms {
        let (name, folder) = vendor.package(&library);
        harm(&folder);
        expected.push((*what, name, *code, *message, *trust));
    }
    let catalog = vendor.catalog(false);
    for (what, name, code, message, trust) in expected {
        let entry = entry(&catalog, &name);
        let reason = reason(entry);
        assert_eq!(reason.code, code, "{what}: {reason}");
        assert!(reason.message.contains(message), "{what}: {reason}");
        assert_eq!(entry.trust, trust, "{what}");
    }
    assert!(!vendor.marker.exists(), "a library that was refused has run");
    // The same library runs where everything is as it should be: it is no plugin, but was loaded.
    let (name, _) = vendor.package(&library);
    let catalog = vendor.catalog(false);
    assert!(!["PLUGIN-HASH", "PLUGIN-ACCESS"].contains(&&*reason(entry(&catalog, &name)).code));
    assert!(vendor.marker.exists(), "the library does not create the marker at all");
}

fn library_of(vendor: &Vendor) -> PathBuf {
    vendor.folder.path().join("built-0.so")
}

fn signature(folder: &Path) -> PathBuf {
    folder.join(format!("{MANIFEST}.minisig"))
}

/// Whatever byte of a signed library is changed, and wherever it is cut, its hash tells.
#[test]
fn no_byte_of_a_signed_library_can_be_changed() {
    let vendor = Vendor::new();
    let library = vendor.library(&[]);
    let whole = fs::read(&library).unwrap();
    let (name, folder) = vendor.package(&library);
    let check = |bytes: &[u8], what: &str| {
        fs::write(folder.join("lib.so"), bytes).unwrap();
        let catalog = vendor.catalog(true);
        let reason = reason(entry(&catalog, &name));
        assert_eq!(reason.code, "PLUGIN-HASH", "{what}: {reason}");
    };
    for index in 0..64 {
        let mut bytes = whole.clone();
        bytes[whole.len() * index / 64] ^= 1 << (index % 8);
        check(&bytes, &format!("byte {}", whole.len() * index / 64));
    }
    for index in 0..120 {
        let length = whole.len() * index / 120;
        check(&whole[..length], &format!("cut to {length} bytes"));
    }
    assert!(!vendor.marker.exists(), "a library that was refused has run");
}

/// The operator's files decide: revocations, the oldest version, the lock, and no flag overrules them.
#[test]
fn what_the_operator_forbids_does_not_run() {
    let vendor = Vendor::new();
    let library = vendor.library(&[]);
    let (name, folder) = vendor.package(&library);
    let publisher = format!("[publisher.acme]\nkeys = [\"{}\"]\n", vendor.public);
    let key_id = fs::read_to_string(signature(&folder)).unwrap();
    assert!(key_id.contains("trusted comment"));
    let public = fs::read_to_string(vendor.folder.path().join("acme.pub")).unwrap();
    let id = public.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    let dropped = vendor.plugins().join("libdropped.so");
    fs::copy(&library, &dropped).unwrap();
    let hash = sha256(&library);
    for (more, message) in [
        (format!("[[revoked]]\nname = \"{name}\"\nreason = \"it leaks\"\n"), ": it leaks"),
        (format!("[[revoked]]\nname = \"{name}\"\nversion = \"1.4.2\"\n"), "was revoked in"),
        ("[[revoked]]\npublisher = \"acme\"\n".to_owned(), "was revoked in"),
        (format!("[[revoked]]\nkey_id = \"{id}\"\n"), "was revoked in"),
        (format!("[[revoked]]\nsha256 = \"{hash}\"\n"), "was revoked in"),
        (format!("[publisher.acme.min_version]\n{name} = \"1.5.0\"\n"), "1.4.2 is too old"),
    ] {
        vendor.trust(&format!("{publisher}{more}"));
        let catalog = vendor.catalog(more.contains("sha256"));
        let found = entry(&catalog, &name);
        assert_eq!(reason(found).code, "PLUGIN-REVOKED", "{more}");
        assert!(reason(found).message.contains(message), "{}", reason(found));
        assert_eq!(found.trust, Some(Trust::Revoked));
        let dropped = reason(entry(&catalog, "dropped")).code.as_str();
        assert!(["PLUGIN-REVOKED", "PLUGIN-UNSIGNED"].contains(&dropped), "{dropped}");
    }
    vendor.trust(&publisher);
    let manifest = sha256(&folder.join(MANIFEST));
    for (version, hash, code) in
        [("1.4.3", manifest, "PLUGIN-LOCK"), ("1.4.2", "0".repeat(64), "PLUGIN-HASH")]
    {
        let lock = format!(
            "[[plugin]]\nname = \"{name}\"\nversion = \"{version}\"\nmanifest = \"{hash}\"\n\
             [plugin.sha256]\nlinux_amd64 = \"00\"\n"
        );
        fs::write(vendor.folder.path().join("config/plugins.lock"), lock).unwrap();
        let catalog = vendor.catalog(false);
        assert_eq!(reason(entry(&catalog, &name)).code, code, "{version}");
    }
    // A lock that cannot be read lets nothing through, a flag neither.
    fs::write(vendor.folder.path().join("config/plugins.lock"), "plugin = 1\n").unwrap();
    let catalog = vendor.catalog(true);
    assert_eq!(reason(entry(&catalog, &name)).code, "PLUGIN-TRUST");
    assert!(!vendor.marker.exists(), "a library that was refused has run");
}

// ------------------------------------------------------------------------ from vendor to operator

const JOB: &str = "[reader]\nplugin = \"sample\"\ncolumns = [\"int64\"]\n\
                   [writer]\nplugin = \"file\"\npath = \"out.jsonl\"\nwrite_mode = \"overwrite\"\n\
                   [channel]\nparallelism = 1\n[dirty]\nmax_rows = 1\n";

/// A workplace with the sample, packed; signed if there is a key.
fn packed(key: bool) -> (Workplace, String) {
    let workplace = Workplace::new();
    let library = sample_folder();
    let library = library.path().join("libsample.so");
    let mut arguments = vec!["plugin", "pack", library.to_str().unwrap(), "--publisher", "acme"];
    arguments.extend(["--license", "MIT", "--out", "shop", "--output", "json"]);
    if key {
        keys(workplace.path(), "acme");
        arguments.extend(["--key", "acme.key"]);
    }
    let packed = workplace.run(&arguments);
    let packed: Value = serde_json::from_str(&packed.exits(0).stdout).unwrap();
    assert_eq!([&packed["name"], &packed["version"]], ["sample", "0.1.0"]);
    assert_eq!(packed["key_id"].is_null(), !key, "{packed}");
    workplace.put("job.toml", JOB);
    (workplace, packed["folder"].as_str().unwrap().to_owned())
}

/// What `plugin verify` shows of the sample, and its exit code.
fn verified(workplace: &Workplace) -> (Value, Option<i32>) {
    let ended = workplace.run(&["plugin", "verify", "--output", "json"]);
    (of_sample(&ended), ended.exit)
}

/// What `plugin list` shows of the sample.
fn listed(workplace: &Workplace) -> Value {
    of_sample(workplace.run(&["plugin", "list", "--output", "json"]).exits(0))
}

fn of_sample(ended: &Ended) -> Value {
    let list: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    list.into_iter().find(|entry| entry["name"] == "sample").unwrap_or_default()
}

#[test]
fn a_signed_plugin_is_installed_used_and_revoked() {
    let (workplace, folder) = packed(true);
    let install = |more: &[&str]| workplace.run(&[&["plugin", "install", &folder], more].concat());
    let refused = install(&["--yes"]);
    refused.exits(7).says("[PLUGIN-PUBLISHER]").says("transload plugin trust acme --key FILE");
    let trust = ["plugin", "trust", "acme", "--key", "acme.pub"];
    workplace.run(&trust).exits(0);
    install(&[]).exits(2).says("add --yes").says("publisher");
    assert!(workplace.run(&["plugin", "info", "sample"]).exit != Some(0));
    let ended = install(&["--yes"]);
    assert!(ended.exits(0).stdout.contains("installed sample 0.1.0 (signed)"), "{}", ended.stdout);
    let (entry, exit) = verified(&workplace);
    assert_eq!([&entry["status"], &entry["trust"]], ["ok", "signed"], "{entry:#}");
    assert_eq!([&entry["publisher"], &entry["isolation"]], ["acme", "process"], "{entry:#}");
    assert_eq!(exit, Some(0));
    let lock = workplace.read("config/transload/plugins.lock");
    assert!(lock.contains("linux_") && lock.contains("manifest = "), "{lock}");
    // A comment of the operator stays, whatever is added.
    let file = workplace.path().join("config/transload/trust.toml");
    fs::write(&file, format!("# ours\n{}", fs::read_to_string(&file).unwrap())).unwrap();
    keys(workplace.path(), "second");
    workplace.run(&["plugin", "trust", "acme", "--key", "second.pub", "--in-process"]).exits(0);
    let text = workplace.read("config/transload/trust.toml");
    assert!(text.starts_with("# ours\n") && text.matches("\"RW").count() == 2, "{text}");
    let entry = listed(&workplace);
    assert_eq!([&entry["trust"], &entry["isolation"]], ["trusted", "in-process"], "{entry:#}");
    workplace.run(&["run", "job.toml"]).exits(0);
    let report = workplace.run(&["run", "job.toml", "--output", "json", "--progress", "none"]);
    let report: Value = serde_json::from_str(&report.exits(0).stdout).unwrap();
    assert_eq!(report["reader"]["trust"], "trusted");
    let reason = ["plugin", "revoke", "sample@0.1.0", "--reason", "it \"leaks\""];
    workplace.run(&reason).exits(0);
    workplace.run(&["run", "job.toml"]).exits(7).says("[PLUGIN-REVOKED]").says("it \"leaks\"");
    let (entry, exit) = verified(&workplace);
    assert_eq!((&entry["trust"], exit), (&"revoked".into(), Some(7)));
    workplace.run(&["plugin", "revoke", "--sha256", "12"]).exits(7).says("64 hexadecimal digits");
    workplace.run(&["plugin", "revoke"]).exits(2);
}

#[test]
fn an_unsigned_plugin_is_pinned_by_its_bytes() {
    let (workplace, folder) = packed(false);
    let install = ["plugin", "install", &folder, "--yes"];
    workplace.run(&install).exits(7).says("[PLUGIN-UNSIGNED]").says("add --pin");
    let ended = workplace.run(&[&install[..], &["--pin"]].concat());
    assert!(ended.exits(0).stdout.contains("(pinned)"), "{}", ended.stdout);
    let entry = listed(&workplace);
    assert_eq!([&entry["status"], &entry["trust"]], ["ok", "pinned"], "{entry:#}");
    let installed = workplace.path().join("data/transload/plugins/sample/0.1.0");
    // What the manifest says is pinned, too; and no flag lets a changed one through.
    change(&installed.join(MANIFEST), "license = \"MIT\"", "license = \"BSD\"");
    let entry = listed(&workplace);
    assert_eq!([&entry["status"], &entry["trust"]], ["refused", "modified"], "{entry:#}");
    workplace.put("job.toml", JOB);
    let run = ["run", "job.toml", "--allow-unsigned-plugins"];
    let ended = workplace.run(&run);
    ended.exits(7).says("[PLUGIN-HASH]").says("transload plugin pin sample");
    workplace.run(&["plugin", "pin", "sample"]).exits(0);
    workplace.run(&["plugin", "info", "sample"]).exits(0);
}

#[test]
fn a_library_without_a_manifest_is_pinned_by_its_file() {
    let (workplace, folder) = (Workplace::new(), sample_folder());
    workplace.put("job.toml", JOB);
    let run = || workplace.run(&["run", "job.toml", "--plugins", folder.path().to_str().unwrap()]);
    let ended = run();
    ended.exits(7).says("[PLUGIN-UNSIGNED]");
    // The hint is a command that works.
    let hint =
        ended.stderr.lines().find_map(|line| line.split_once("transload plugin pin ")).unwrap().1;
    let library = hint.split('\'').nth(1).unwrap();
    workplace.run(&["plugin", "pin", library]).exits(0);
    run().exits(0);
    let mut bytes = fs::read(library).unwrap();
    bytes.extend(b"more");
    fs::write(library, bytes).unwrap();
    run().exits(7).says("[PLUGIN-HASH]").says("plugins.lock has");
}

/// Bytes that are put in place between the check and the load are not what runs.
#[test]
fn a_packed_library_that_changes_behind_the_check_is_refused() {
    let (workplace, folder) = packed(false);
    workplace.run(&["plugin", "install", &folder, "--yes", "--pin"]).exits(0);
    let library = workplace.path().join("data/transload/plugins/sample/0.1.0/libsample.so");
    let mut bytes = fs::read(&library).unwrap();
    bytes.extend(b"other bytes behind the same library");
    let other = workplace.put("other", bytes);
    let mut command = workplace.command();
    command.env("XDG_CACHE_HOME", workplace.path().join("cache"));
    let order = format!("replace={} by {}", library.display(), other.display());
    command.env("SAMPLE_AT_LOAD", order).args(["run", "job.toml"]);
    let ended = Ended::from(command.output().unwrap());
    ended.exits(7).says("[PLUGIN-HASH]");
    assert!(!other.exists(), "it was not replaced");
    assert!(!workplace.path().join("out.jsonl").exists());
}

/// Where the system refuses memory with code, a copy in a private folder is loaded, and removed.
#[test]
fn plugins_load_where_memory_cannot_have_code() {
    let (workplace, folder) = packed(false);
    workplace.run(&["plugin", "install", &folder, "--yes", "--pin"]).exits(0);
    let script = "echo 2 > /proc/sys/vm/memfd_noexec && exec \"$0\" \"$@\"";
    let enter = ["--pid", "--fork", "--mount-proc", "sh", "-c"];
    let can = Command::new("unshare").args(enter).args([script, "true"]).output().unwrap();
    if !can.status.success() {
        println!("skipped: no namespace of its own: {}", String::from_utf8_lossy(&can.stderr));
        return;
    }
    let temporary = workplace.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let program = workplace.command();
    let mut command = Command::new("unshare");
    command.current_dir(workplace.path());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.args(enter).arg(script).arg(built().join("transload")).args(["run", "job.toml", "-vv"]);
    command.env("TMPDIR", &temporary).env("XDG_CACHE_HOME", workplace.path().join("cache"));
    let ended = Ended::from(command.output().unwrap());
    ended.exits(0).says("plugins are copied to a private folder");
    assert!(!workplace.read("out.jsonl").is_empty());
}

#[test]
fn a_library_that_would_be_refused_is_not_packed() {
    let vendor = Vendor::new();
    let workplace = Workplace::new();
    let pack = |library: &Path| {
        let library = library.to_str().unwrap();
        workplace.run(&["plugin", "pack", library, "--publisher", "acme", "--license", "MIT"])
    };
    pack(&vendor.library(&["-Wl,-rpath,/tmp"])).exits(7).says("[PLUGIN-LINKED]").says("a run path");
    pack(&vendor.library(&["-Wl,-z,execstack"])).exits(7).says("an executable stack");
    pack(&workplace.put("text.so", "text")).exits(7).says("not a shared library");
    let folder = sample_folder();
    let library = folder.path().join("libsample.so");
    let library = library.to_str().unwrap();
    let ended = workplace.run(&["plugin", "pack", library, "--publisher", "acme"]);
    ended.exits(7).says("[PLUGIN-INSTALL]").says("needs a license").says("--license");
    let ended =
        workplace.run(&["plugin", "pack", library, "--publisher", "Acme!", "--license", "MIT"]);
    ended.exits(7).says("`Acme!` is not a name");
    assert!(!workplace.path().join("dist").exists());
}
