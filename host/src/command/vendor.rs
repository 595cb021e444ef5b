//! `plugin pack`, `install`, `pin`, `trust`, `revoke` and `verify`: what vendors ship, and what
//! operators accept.

use std::io::{self, BufRead as _, IsTerminal as _};

use transload_plugin_api::{Error as PluginError, code};

use super::{Ended, Session};
use crate::{
    Error, Exit, Result,
    catalog::{self, Catalog, PackRequest, Places, Revoke, SearchPath, Status, Summary},
    cli::{InstallArgs, PackArgs, PinArgs, PlaceArgs, RevokeArgs, TrustArgs},
    report,
    report::Page,
    terminal::write_stderr,
};

fn places(args: &PlaceArgs) -> Result<Places> {
    SearchPath::places(args.system).map_err(Error::unusable_plugin)
}

/// Makes a plugin's folder from its libraries.
pub(super) fn pack(session: &Session, args: &PackArgs) -> Ended {
    let PackArgs { source, publisher, license, key, out } = args.clone();
    let request = PackRequest { source, out, publisher, license, key };
    let packed = catalog::pack(&request, &session.search()).map_err(Error::unusable_plugin)?;
    session.print(&packed, |page| {
        let platforms = packed.platforms.join(", ");
        let folder = packed.folder.display();
        page.line(
            0,
            &format!("packed {} {} for {platforms}: {folder}", packed.name, packed.version),
        );
        match (&packed.key_id, &packed.sign) {
            (Some(key), _) => page.line(0, &format!("signed with key {key}")),
            (None, Some(sign)) => page.flow(&format!("not signed; to sign it: {sign}")),
            (None, None) => {}
        }
    })?;
    Ok(Exit::Done)
}

/// Installs a vendor's folder, after a question.
pub(super) fn install(session: &Session, args: &InstallArgs) -> Ended {
    let places = places(&args.place)?;
    let candidate = catalog::candidate(&args.package, &places, &session.search(), args.pin);
    let candidate = candidate.map_err(Error::unusable_plugin)?;
    if !args.yes {
        session.say(|page| describe(page, &candidate.summary));
        if !confirmed(&candidate.summary)? {
            return Err(Error::new(Exit::Failed, "nothing was installed").into());
        }
    }
    let lock = candidate.install(&places).map_err(Error::unusable_plugin)?;
    let summary = &candidate.summary;
    session.print(summary, |page| {
        let (name, version, trust) = (&summary.name, &summary.version, summary.trust);
        let folder = summary.folder.display();
        page.line(0, &format!("installed {name} {version} ({trust}): {folder}"));
        page.line(0, &format!("locked in {}", lock.display()));
    })?;
    Ok(Exit::Done)
}

/// What the user decides about.
fn describe(page: &mut Page, summary: &Summary) {
    const LABEL: usize = 14;
    let roles: Vec<_> = summary.roles.iter().map(ToString::to_string).collect();
    page.heading(&format!("{} {}", summary.name, summary.version));
    page.line(0, &summary.description);
    let signed = match &summary.key_id {
        Some(key) => format!("{}, key {key}: {}", summary.publisher, summary.trust),
        None => format!("{}, not signed: {}", summary.publisher, summary.trust),
    };
    page.pair(2, "publisher", LABEL, &signed);
    page.pair(2, "license", LABEL, &summary.license);
    page.pair(2, "roles", LABEL, &roles.join(", "));
    if let Some(asked) = &summary.capabilities {
        for (label, words) in asked.words() {
            page.pair(2, label, LABEL, &words);
        }
    }
    if let Some(old) = &summary.replaces {
        page.pair(2, "replaces", LABEL, &format!("version {old}"));
    }
    page.pair(2, "folder", LABEL, &summary.folder.display().to_string());
}

fn confirmed(summary: &Summary) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Error::new(Exit::Usage, "there is no terminal to ask whether to install it")
            .code(code::PLUGIN_INSTALL)
            .hint("add --yes"));
    }
    write_stderr(&format!("install {} {}? [y/N] ", summary.name, summary.version));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(PluginError::from)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// Accepts the bytes of a plugin that is there.
pub(super) fn pin(session: &Session, args: &PinArgs) -> Ended {
    let pinned = catalog::pin(&args.what, &places(&args.place)?, &session.search());
    let pinned = pinned.map_err(Error::unusable_plugin)?;
    session.print(&pinned, |page| {
        let (name, version, file) = (&pinned.name, &pinned.version, pinned.file.display());
        page.line(0, &format!("pinned {name} {version} in {file}"));
        page.line(2, &format!("sha256 {}", pinned.sha256));
    })?;
    Ok(Exit::Done)
}

/// Trusts a publisher's key.
pub(super) fn trust(session: &Session, args: &TrustArgs) -> Ended {
    let TrustArgs { publisher, key, in_process, place } = args;
    let trusted = catalog::trust(publisher, key, *in_process, &places(place)?);
    let trusted = trusted.map_err(Error::unusable_plugin)?;
    session.print(&trusted, |page| {
        let (publisher, id, file) = (&trusted.publisher, &trusted.key_id, trusted.file.display());
        page.line(0, &format!("{publisher} is trusted with key {id} in {file}"));
        page.line(2, &trusted.key);
        page.line(0, "compare this key with the one that the vendor publishes");
    })?;
    Ok(Exit::Done)
}

/// Forbids a plugin, a publisher, a key or a library.
pub(super) fn revoke(session: &Session, args: &RevokeArgs) -> Ended {
    let RevokeArgs { plugin, publisher, key_id, sha256, reason, place } = args.clone();
    let (name, version) = match plugin.as_deref().map(|plugin| plugin.split_once('@')) {
        Some(Some((name, version))) => (Some(name.to_owned()), Some(version.to_owned())),
        _ => (plugin, None),
    };
    let revoked = Revoke { name, version, publisher, key_id, sha256, reason };
    let file = catalog::revoke(&revoked, &places(&place)?).map_err(Error::unusable_plugin)?;
    session.print(&revoked, |page| page.line(0, &format!("revoked in {}", file.display())))?;
    Ok(Exit::Done)
}

/// Checks every plugin that is installed, anew.
pub(super) fn verify(session: &Session) -> Ended {
    let catalog = Catalog::open(&session.search().without_cache());
    let problems = catalog.problems();
    problems.iter().for_each(|problem| tracing::warn!("{problem}"));
    let entries = catalog.list();
    session.print(&entries, |page| report::list_plugins(page, entries))?;
    let refused = entries.iter().any(|entry| matches!(entry.status, Status::Refused { .. }));
    Ok(if refused || !problems.is_empty() { Exit::Plugin } else { Exit::Done })
}
