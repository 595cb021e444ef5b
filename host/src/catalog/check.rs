//! `plugin check`: one library, stage by stage. The checks themselves are those of the catalog.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::Path,
};

use sha2::{Digest, Sha256};
use transload_plugin_api::{Error, Finding, Result, abi::ABI, code};

use super::{
    SearchPath, access, elf,
    entry::Entry,
    policy::Policy,
    probe::{Probed, Prober},
    role::Role,
    sanity,
    scan::{self, listing, manifests},
    sealed::Sealed,
    trust::Trust,
    vendor::VendorFolder,
};

/// The hash of a file's content, in hexadecimal.
pub(super) fn sha256(mut file: &File) -> io::Result<String> {
    file.rewind()?;
    let (mut hash, mut block) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            count => hash.update(&block[..count]),
        }
    }
}

/// The hash of these bytes, in hexadecimal.
pub(super) fn sha256_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks the library at any path, or a vendor's folder. Stops at the first stage that fails, because later stages depend
/// on it. The library is loaded in a child process only.
pub fn check(path: &Path, search: &SearchPath) -> Vec<Finding> {
    let mut findings = Vec::new();
    match examine(path, search, &mut findings) {
        Ok(probed) => findings.extend(descriptor_findings(&probed)),
        Err(refused) => findings.push(failed(refused.0, &refused.1)),
    }
    findings
}

/// Runs the stages up to the descriptor; adds a finding for each one that passes. The error names the
/// stage that failed.
fn examine(
    path: &Path,
    search: &SearchPath,
    findings: &mut Vec<Finding>,
) -> Result<Probed, Box<(&'static str, Error)>> {
    let at = |stage: &'static str| move |error: Error| Box::new((stage, error));
    let lost = |error: io::Error| at("file")(Error::from(error));
    // A name without a folder would be searched for by the system's loader.
    let path = &std::path::absolute(path).map_err(lost)?;
    if path.is_dir() {
        return examine_folder(path, search, findings);
    }
    let file = File::open(path).map_err(lost)?;
    let bytes = file.metadata().map_err(lost)?.len();
    findings.push(passed("file", format!("{bytes} bytes")));
    elf::ensure_plugin(&file).map_err(at("elf"))?;
    findings.push(passed("elf", "an intact shared library that exports a plugin".to_owned()));
    access::ensure_own(path).map_err(at("access"))?;
    findings.push(passed("access", "only root and this user can change it".to_owned()));
    let library = Sealed::copy(path).map_err(at("file"))?;
    findings.push(passed("hash", format!("sha256 {}", library.sha256())));
    let search = search.clone().and(path.parent());
    let (manifests, _) = manifests(&search);
    let of_manifest = at("manifest");
    let listed = listing(&manifests, path).map_err(of_manifest)?;
    if let Some((_, listed)) = listed {
        listed.ensure_hash(library.sha256()).map_err(of_manifest)?;
    }
    // Whoever names a library's file here wants it to be loaded, in the child process.
    let policy = Policy::read(search.clone().allow_unsigned(true).trust());
    let trust = scan::trust(&policy, listed, path, library.sha256()).map_err(at("trust"))?;
    findings.push(passed("trust", trust_words(trust)));
    let prober = Prober::new(search.program().to_owned());
    let probed = prober.probe(&library).map_err(|error| at(stage_of(&error))(error))?;
    if let Some((manifest, listed)) = listed {
        listed.ensure_same(&probed, manifest.is_exact()).map_err(of_manifest)?;
    }
    let in_manifest = if listed.is_some() { "as it is listed" } else { "not listed" };
    findings.push(passed("manifest", in_manifest.to_owned()));
    findings.push(passed("load", "loads in a child process".to_owned()));
    let layout = format!("built for plugin ABI {}, this program has {ABI}", probed.abi);
    findings.push(passed("layout", layout));
    Ok(probed)
}

fn trust_words(trust: Trust) -> String {
    match trust {
        Trust::Unsigned => "warning: unsigned: the library is neither signed nor pinned".to_owned(),
        trust => trust.word().to_owned(),
    }
}

/// The same for a vendor's folder.
fn examine_folder(
    path: &Path,
    search: &SearchPath,
    findings: &mut Vec<Finding>,
) -> Result<Probed, Box<(&'static str, Error)>> {
    let at = |stage: &'static str| move |error: Error| Box::new((stage, error));
    let vendor = VendorFolder::at(path).map_err(at("manifest"))?;
    let (name, version) = (&vendor.package.name, &vendor.package.version);
    findings.push(passed("manifest", format!("{name} {version} by {}", vendor.package.publisher)));
    let policy = Policy::read(search.clone().allow_unsigned(true).trust());
    let mut entry = Entry::unknown(path);
    vendor.judge(&policy, &mut entry).map_err(at("trust"))?;
    findings.push(passed("trust", entry.trust.map_or_else(String::new, trust_words)));
    let library = vendor.seal().map_err(at("files"))?;
    findings.push(passed("files", format!("as listed; library's sha256 {}", library.sha256())));
    let prober = Prober::new(search.program().to_owned());
    let probed = prober.probe(&library).map_err(|error| at(stage_of(&error))(error))?;
    vendor.package.ensure_same(&probed).map_err(at("manifest"))?;
    findings.push(passed("load", "the manifest says what the library says".to_owned()));
    Ok(probed)
}

/// The stage that a probe's error belongs to.
fn stage_of(error: &Error) -> &'static str {
    match error.code.as_str() {
        code::PLUGIN_HEADER | code::PLUGIN_ABI | code::PLUGIN_LAYOUT => "layout",
        code::PLUGIN_PROTOCOL | code::PLUGIN_PANIC => "descriptor",
        _ => "load",
    }
}

/// One finding for each stage of [`sanity`].
fn descriptor_findings(probed: &Probed) -> Vec<Finding> {
    let problems = sanity::problems(&probed.descriptor);
    let found = |stage: &'static str| {
        let details: Vec<_> = problems
            .iter()
            .filter(|problem| problem.stage == stage)
            .map(|problem| problem.detail.as_str())
            .collect();
        let ok = details.is_empty();
        let detail = if ok { declared(stage, probed) } else { details.join("; ") };
        Finding { stage: stage.to_owned(), ok, detail }
    };
    sanity::STAGES.into_iter().map(found).collect()
}

/// What the descriptor declares in one stage, for a finding that is ok.
fn declared(stage: &str, Probed { descriptor, .. }: &Probed) -> String {
    let (reader, writer) = (descriptor.reader.as_ref(), descriptor.writer.as_ref());
    match stage {
        "options" => {
            let own = reader.map_or(0, |reader| reader.options.len())
                + writer.map_or(0, |writer| writer.options.len());
            format!("{} options", descriptor.options.len() + own)
        }
        "types" => format!(
            "reads {}, writes {} types",
            reader.map_or(0, |reader| reader.types.len()),
            writer.map_or(0, |writer| writer.types.len())
        ),
        "modes" => {
            let modes = writer.map(|writer| writer.modes.as_slice()).unwrap_or_default();
            let words: Vec<_> = modes.iter().map(|spec| spec.mode.word()).collect();
            if words.is_empty() { "no writer".to_owned() } else { words.join(", ") }
        }
        _ => {
            let roles = Role::words(&Role::of(descriptor));
            format!("{} {}: {roles}", descriptor.name, descriptor.version)
        }
    }
}

fn passed(stage: &str, detail: String) -> Finding {
    Finding { stage: stage.to_owned(), ok: true, detail }
}

fn failed(stage: &str, error: &Error) -> Finding {
    let causes = error.causes.iter().map(|cause| format!(": {cause}")).collect::<String>();
    Finding { stage: stage.to_owned(), ok: false, detail: format!("{error}{causes}") }
}
