//! The public conformance suite on a library from outside: what its author says of the store in a file
//! (`config`), and the sources and targets that follow from that (`subject`). The requirements
//! themselves are `plugin-api`'s; loading the library is left to `catalog`.

mod config;
mod place;
mod subject;

use std::{
    panic,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use transload_plugin_api::{
    Plugin,
    testing::{self, Report},
};

use crate::{Error, Exit, Result, ending};
use config::Config;
use subject::DeclaredSubject;

/// Runs the suite on a plugin with the file's description of its store. A case that takes longer than
/// `patience` ends the process, because a call cannot be ended.
pub(crate) fn test(
    plugin: Arc<dyn Plugin>,
    config: &Path,
    patience: Duration,
    show: impl Fn(&str),
) -> Result<Report> {
    let config = Config::read(config)?;
    let subject = DeclaredSubject::new(plugin.clone(), config)?;
    let running: Arc<Mutex<Option<(String, Instant)>>> = Arc::default();
    watch(running.clone(), patience);
    // A requirement that is not met is a panic, which the report shows.
    panic::set_hook(Box::new(|_| {}));
    let report = testing::report(&*plugin, &subject, |case| {
        let name = format!("{}: {}", case.area, case.name);
        show(&name);
        *running.lock().unwrap_or_else(PoisonError::into_inner) = Some((name, Instant::now()));
    });
    let _ = panic::take_hook();
    *running.lock().unwrap_or_else(PoisonError::into_inner) = None;
    Ok(report)
}

/// Ends the process if one case takes too long.
fn watch(running: Arc<Mutex<Option<(String, Instant)>>>, patience: Duration) {
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(200));
            let case = running.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some((name, _)) = case.filter(|(_, begun)| begun.elapsed() > patience) else {
                continue;
            };
            let seconds = patience.as_secs();
            let message = format!("case `{name}` did not end within {seconds} s");
            let error = Error::new(Exit::Plugin, message)
                .hint("a call of the plugin blocks; a longer limit: --timeout");
            ending::end_early(error);
        }
    });
}
