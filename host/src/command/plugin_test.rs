//! `plugin test`: the conformance suite on one library, loaded as any run loads it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use transload_plugin_api::Plugin;

use super::{Ended, Session};
use crate::{
    Error, Exit, Result,
    catalog::{Catalog, Role, SearchPath},
    cli::PluginTestArgs,
    conformance, report,
};

/// Tests the library. Exit code 7 if a case fails.
pub(super) fn test(session: &Session, args: &PluginTestArgs) -> Ended {
    let copy = Copy::of(&args.library)?;
    let plugin = load(&copy)?;
    let show = |case: &str| tracing::info!("{case}");
    let outcome = conformance::test(plugin, &args.config, args.timeout, show)?;
    session.print(&outcome, |page| report::list_conformance(page, &outcome))?;
    Ok(if outcome.ok { Exit::Done } else { Exit::Plugin })
}

/// The library in a folder of its own, which is searched like any folder of plugins.
struct Copy {
    folder: PathBuf,
}

impl Copy {
    fn of(library: &Path) -> Result<Self> {
        let lost = |error: std::io::Error| {
            Error::new(Exit::Usage, format!("{}: {error}", library.display()))
        };
        let folder = env::temp_dir().join(format!("transload-plugin-test-{}", std::process::id()));
        fs::create_dir(&folder).map_err(lost)?;
        let copy = Self { folder };
        fs::copy(library, copy.folder.join("plugin.so")).map_err(lost)?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn load(copy: &Copy) -> Result<Arc<dyn Plugin>> {
    let catalog = Catalog::open(&SearchPath::only(std::slice::from_ref(&copy.folder)));
    let Some(entry) = catalog.list().first() else {
        return Err(Error::new(Exit::Plugin, "the file is no library"));
    };
    let role = entry.roles.first().copied().unwrap_or(Role::Reader);
    catalog.plugin(&entry.name, role).map_err(Error::unusable_plugin)
}
