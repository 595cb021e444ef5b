//! A range of values that is read again, in steps that are runs of their own. How far it has come is
//! kept in a file, so that the same command continues with the step that has failed.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};
use transload_plugin_api::code;

use super::{GrowingValue, WatermarkFile};
use crate::{
    Error, Exit, Result,
    job::Lookback,
    journal::{create_private_folder, failed, write_private},
};

/// Most steps of a backfill.
const MOST_STEPS: usize = 10_000;

/// A range and its steps, as the command line gives them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Backfill {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) step: Lookback,
}

/// The steps of a backfill, and how far it has come.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Steps {
    backfill: Backfill,
    /// The parameters of the job, which are part of what is repeated.
    parameters: Vec<(String, String)>,
    /// How many steps are complete.
    pub(crate) done: usize,
    #[serde(skip)]
    path: std::path::PathBuf,
}

impl Backfill {
    /// The steps, each from a value to before the next one.
    ///
    /// # Errors
    /// If the values are none of the type, or if the step does not fit them.
    pub(crate) fn steps(
        &self,
        logical: &transload_plugin_api::LogicalType,
    ) -> Result<Vec<(String, String)>> {
        let refuse = |flag: &str, message: String| {
            Error::new(Exit::Usage, message).at(flag.to_owned()).code(code::INCREMENT_VALUE)
        };
        let read = |flag: &str, text: &str| {
            GrowingValue::read(text, logical).ok_or_else(|| {
                let expected = super::kind(logical).unwrap_or_default();
                refuse(flag, format!("expected {expected} for `{logical}`, found `{text}`"))
            })
        };
        let (mut from, to) = (read("--from", &self.from)?, read("--to", &self.to)?);
        if from >= to {
            let message = format!("`{}` is not behind `{}`", self.to, self.from);
            return Err(refuse("--to", message));
        }
        let mut steps = Vec::new();
        while from < to {
            let Some(next) = from.plus(self.step).filter(|next| *next > from) else {
                let message = format!("the step does not fit a column of type `{logical}`");
                return Err(refuse("--step", message));
            };
            if steps.len() == MOST_STEPS {
                return Err(refuse(
                    "--step",
                    format!("the range has more than {MOST_STEPS} steps"),
                ));
            }
            let end = next.min(to);
            steps.push((from.to_string(), end.to_string()));
            from = end;
        }
        Ok(steps)
    }
}

impl Steps {
    /// The steps of this backfill, as far as they are known from before.
    ///
    /// # Errors
    /// If the file cannot be read, or is of another backfill that is not complete.
    pub(crate) fn open(
        watermark: &WatermarkFile,
        backfill: Backfill,
        parameters: Vec<(String, String)>,
        is_restarted: bool,
    ) -> Result<Self> {
        let path = watermark.0.with_extension("backfill");
        let fresh = |path| Self {
            backfill: backfill.clone(),
            parameters: parameters.clone(),
            done: 0,
            path,
        };
        let text = match fs::read_to_string(&path) {
            _ if is_restarted => return Ok(fresh(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(fresh(path)),
            text => text.map_err(|error| failed(&path, &error))?,
        };
        let known: Option<Self> = serde_json::from_str(&text).ok();
        match known {
            Some(known) if known.backfill == backfill && known.parameters == parameters => {
                Ok(Self { path, ..known })
            }
            Some(Self { backfill: Backfill { from, to, .. }, .. }) => {
                let message =
                    format!("another backfill of the job, from {from} to {to}, is not complete");
                Err(Error::new(Exit::Usage, message).code(code::RUN_ACTIVE).hint(
                    "continue it with its own --from, --to and --step; or give it up: --restart",
                ))
            }
            None => Ok(fresh(path)),
        }
    }

    /// Keeps how far the backfill has come.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn keep(&self) -> Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let text = serde_json::to_vec(self).map_err(io::Error::from);
        let write = |text: Vec<u8>| {
            create_private_folder(folder)?;
            write_private(&self.path, &text)
        };
        text.and_then(write).map_err(|error| failed(&self.path, &error))
    }

    /// The backfill is complete.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub(crate) fn end(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed(&self.path, &error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use transload_plugin_api::LogicalType;

    use super::*;

    #[test]
    fn a_range_is_divided_into_steps() {
        let day = Lookback::Time(86_400_000);
        let time = LogicalType::Timestamp { precision: 6 };
        for (from, to, step, logical, expected) in [
            (
                "2026-02-27",
                "2026-03-02",
                day,
                LogicalType::Date,
                &["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"][..],
            ),
            ("0", "25", Lookback::Number(10), LogicalType::Int32, &["0", "10", "20", "25"]),
            (
                "2026-11-20",
                "2026-11-21 06:00:00",
                day,
                time.clone(),
                &["2026-11-20 00:00:00", "2026-11-21 00:00:00", "2026-11-21 06:00:00"],
            ),
        ] {
            let backfill = Backfill { from: from.to_owned(), to: to.to_owned(), step };
            let steps = backfill.steps(&logical).unwrap();
            let starts: Vec<_> = steps.iter().map(|(from, _)| from.as_str()).collect();
            assert_eq!(starts, expected[..expected.len() - 1]);
            let ends: Vec<_> = steps.iter().map(|(_, to)| to.as_str()).collect();
            assert_eq!(ends, expected[1..]);
        }
        for (from, to, step, logical, message) in [
            ("5", "5", Lookback::Number(1), LogicalType::Int32, "`5` is not behind `5`"),
            (
                "1",
                "5",
                Lookback::Number(0),
                LogicalType::Int32,
                "the step does not fit a column of type `int32`",
            ),
            ("1", "5", day, LogicalType::Int32, "the step does not fit a column of type `int32`"),
            (
                "a",
                "5",
                Lookback::Number(1),
                LogicalType::Int32,
                "expected a whole number for `int32`, found `a`",
            ),
            (
                "0",
                "99999",
                Lookback::Number(1),
                LogicalType::Int32,
                "the range has more than 10000 steps",
            ),
        ] {
            let backfill = Backfill { from: from.to_owned(), to: to.to_owned(), step };
            let error = backfill.steps(&logical).unwrap_err();
            assert_eq!(error.error.message, message);
        }
    }
}
