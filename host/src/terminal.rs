//! What stdout and stderr can show: their width and colours; and how text passes a progress bar. The
//! layout of text is left to `report::page`.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use indicatif::ProgressBar;
use parking_lot::Mutex;

/// When text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColourMode {
    /// On a terminal, unless `NO_COLOR` is set; elsewhere if `CLICOLOR_FORCE` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How text is shown on one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// The columns that a line may have; `None`: lines are not broken.
    pub(crate) width: Option<usize>,
    /// Whether text is coloured.
    pub(crate) colour: bool,
}

impl Look {
    /// The look of stdout. `width` and `mode` are the user's.
    pub(crate) fn stdout(width: Option<u16>, mode: ColourMode) -> Self {
        Self::of(io::stdout().is_terminal(), columns(&io::stdout()), width, mode)
    }

    /// The look of stderr.
    pub(crate) fn stderr(width: Option<u16>, mode: ColourMode) -> Self {
        Self::of(io::stderr().is_terminal(), columns(&io::stderr()), width, mode)
    }

    fn of(is_terminal: bool, found: Option<usize>, width: Option<u16>, mode: ColourMode) -> Self {
        let from_env =
            || std::env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0);
        let set = |key: &str| std::env::var_os(key).filter(|value| !value.is_empty());
        let is_dumb = set("TERM").is_none_or(|term| term == "dumb");
        let colour = match mode {
            ColourMode::Always => true,
            ColourMode::Never => false,
            ColourMode::Auto if set("NO_COLOR").is_some() => false,
            ColourMode::Auto if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
            ColourMode::Auto => is_terminal && !is_dumb,
        };
        Self { width: width.map(usize::from).or_else(from_env).or(found), colour }
    }
}

/// The columns of a terminal; `None` for anything else.
#[cfg(unix)]
fn columns(stream: &impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

#[cfg(not(unix))]
fn columns<S>(_: &S) -> Option<usize> {
    None
}

/// The bar that is being redrawn.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// From now on, text passes above this bar; `None`: there is no bar any more.
pub(crate) fn draw_below(bar: Option<ProgressBar>) {
    *BAR.lock() = bar;
}

/// Writes complete lines to stderr, above the bar if one is drawn. A closed stderr is no failure.
pub(crate) fn write_stderr(text: &str) {
    let bar = BAR.lock().clone();
    let write = || {
        let _ = io::stderr().write_all(text.as_bytes());
    };
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_stronger_than_what_the_stream_is() {
        for is_terminal in [false, true] {
            let look = |width, mode| Look::of(is_terminal, Some(99), width, mode);
            assert_eq!(look(Some(60), ColourMode::Never).width, Some(60));
            assert!(look(None, ColourMode::Always).colour);
            assert!(!look(None, ColourMode::Never).colour);
        }
    }
}
