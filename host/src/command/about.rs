//! What the program says about itself: its version with its plugins, completions for shells, and
//! manual pages. The latter two are made from the definition of the command line.

use std::{fs, path::Path};

use clap::CommandFactory as _;
use serde::Serialize;
use transload_plugin_api::{Error as PluginError, abi::ABI};

use super::{Ended, Session};
use crate::{
    Error, Exit, catalog,
    cli::{Cli, Shell},
    report::{Cell, Page},
};

/// What a report of a defect needs to say.
#[derive(Serialize)]
struct Version<'a> {
    version: &'static str,
    abi: String,
    target: String,
    plugins: &'a [catalog::Entry],
}

/// Prints the version of the program, of the plugin ABI and of each plugin.
pub(super) fn version(session: &Session) -> Ended {
    let catalog = session.catalog();
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        abi: ABI.to_string(),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        plugins: catalog.list(),
    };
    session.print(&version, |page| describe(page, &version))?;
    Ok(Exit::Done)
}

fn describe(page: &mut Page, version: &Version<'_>) {
    let Version { version, abi, target, plugins } = version;
    page.line(0, &format!("transload {version}, plugin ABI {abi}, {target}"));
    let row = |plugin: &catalog::Entry| {
        let version = plugin.version.as_deref().unwrap_or("(refused)");
        [&plugin.name, version, &plugin.path.display().to_string()].map(Cell::from).to_vec()
    };
    page.table(2, &plugins.iter().map(row).collect::<Vec<_>>());
}

/// Prints the completions for a shell.
pub(super) fn completions(shell: Shell) -> Ended {
    let mut command = visible();
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(clap_complete::Shell::from(shell), &mut command, name, &mut text);
    // A closed stdout (`| head`) is not a failure.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), &text);
    Ok(Exit::Done)
}

/// Writes a manual page for the program and for each of its commands into a folder.
pub(super) fn man(folder: &Path) -> Ended {
    let lost = |error: std::io::Error| {
        let place = folder.display().to_string();
        Error::from(PluginError::from(error).at(place))
    };
    fs::create_dir_all(folder).map_err(lost)?;
    clap_mangen::generate_to(visible(), folder).map_err(lost)?;
    Ok(Exit::Done)
}

/// The command line without the commands that only the program itself uses.
fn visible() -> clap::Command {
    let whole = Cli::command();
    let commands = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    clap::Command::new("transload")
        .version(env!("CARGO_PKG_VERSION"))
        .about(whole.get_about().cloned().unwrap_or_default())
        .args(whole.get_arguments().cloned())
        .subcommands(commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: &str = include_str!("../../../docs/reference.md");

    /// Each command with its path, such as `connection test`, the program itself first.
    fn commands(path: &str, command: &clap::Command, found: &mut Vec<(String, clap::Command)>) {
        found.push((path.to_owned(), command.clone()));
        for own in command.get_subcommands().filter(|own| !own.is_hide_set()) {
            commands(format!("{path} {}", own.get_name()).trim(), own, found);
        }
    }

    #[test]
    fn manual_pages_completions_and_the_reference_have_every_command_and_option() {
        let mut all = Vec::new();
        commands("", &visible(), &mut all);
        assert!(all.len() > 12, "{} commands", all.len());
        let folder = tempfile::tempdir().unwrap();
        man(folder.path()).unwrap_or_else(|_| panic!("no manual pages"));
        let completed = [Shell::Bash, Shell::Fish, Shell::Zsh].map(|shell| {
            let mut text = Vec::new();
            let shell = clap_complete::Shell::from(shell);
            clap_complete::generate(shell, &mut visible(), "transload", &mut text);
            String::from_utf8(text).unwrap()
        });
        for (path, command) in &all {
            let page = format!("transload {path}").trim().replace(' ', "-") + ".1";
            let page =
                fs::read_to_string(folder.path().join(&page)).unwrap_or_else(|_| panic!("{page}"));
            if !command.has_subcommands() {
                assert!(
                    REFERENCE.contains(&format!("\n| `{path}")),
                    "docs/reference.md lacks `{path}`"
                );
            }
            for long in command.get_arguments().filter_map(clap::Arg::get_long) {
                let escaped = long.replace('-', "\\-");
                assert!(page.contains(&escaped), "the page of `{path}` lacks --{long}");
                assert!(
                    completed.iter().all(|text| text.contains(long)),
                    "no shell knows --{long}"
                );
                assert!(
                    REFERENCE.contains(&format!("--{long}")),
                    "docs/reference.md lacks --{long}"
                );
            }
        }
    }
}
