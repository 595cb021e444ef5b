//! What tasks report to the job's commit: how many rows each has staged. A stage that holds any
//! other number of rows is not published.

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, Receipt, Result, code};

/// The data of a receipt; empty where rows go straight into the target.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StagedRows {
    staged: u64,
}

/// The receipt of a task that has staged that many rows, or none where there is no stage.
pub(crate) fn receipt(task: u32, staged: Option<u64>) -> Result<Receipt> {
    let data = match staged {
        None => String::new(),
        Some(staged) => serde_json::to_string(&StagedRows { staged })
            .map_err(|error| Error::defect(error.to_string()))?,
    };
    Ok(Receipt { task, data })
}

/// How many rows the tasks of a run have staged together.
pub(crate) fn staged_rows(receipts: &[Receipt]) -> Result<u64> {
    receipts.iter().try_fold(0, |total, receipt| {
        let unreadable = |error: serde_json::Error| {
            Error::defect(format!("the receipt of task {} cannot be read: {error}", receipt.task))
        };
        let StagedRows { staged } = serde_json::from_str(&receipt.data).map_err(unreadable)?;
        Ok(total + staged)
    })
}

/// Refuses to publish a stage that does not hold exactly the rows that were committed to it: the
/// server may have lost some (a restart empties unlogged tables), or another session changed it.
///
/// # Errors
/// [`code::RUN_STAGE`] with both numbers.
pub fn check_stage(stage: &str, committed: u64, found: u64) -> Result<()> {
    if committed == found {
        return Ok(());
    }
    let message = format!(
        "the stage table `{stage}` holds {found} rows, but {committed} were committed to it"
    );
    Err(Error::other(message).with_code(code::RUN_STAGE).hint(
        "run the job again: nothing was published; if the server was not restarted meanwhile, \
         find out what else changes the stage tables of Transload",
    ))
}

/// The refusal to continue a run whose stage is gone before it was published.
pub(crate) fn no_stage(stage: &str) -> Error {
    Error::not_found(format!("the stage table `{stage}` and its rows no longer exist"))
        .with_code(code::RUN_STAGE)
        .hint("run the job again: nothing but Transload may drop its stage tables")
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    #[test]
    fn receipts_add_up() {
        let receipts = [receipt(0, Some(3)).unwrap(), receipt(1, Some(4)).unwrap()];
        assert_eq!(staged_rows(&receipts).unwrap(), 7);
        assert_eq!(staged_rows(&[]).unwrap(), 0);
        assert_eq!(receipt(2, None).unwrap().data, "");
        let broken = Receipt { task: 5, data: "{}".to_owned() };
        assert_eq!(staged_rows(&[broken]).unwrap_err().kind, ErrorKind::Defect);
    }

    #[test]
    fn both_numbers_stand_in_the_error() {
        assert!(check_stage("t__r", 5, 5).is_ok());
        for found in [4, 6] {
            let error = check_stage("t__r", 5, found).unwrap_err();
            assert_eq!(error.code, code::RUN_STAGE);
            assert!(error.message.contains(&format!("holds {found} rows, but 5 were")));
            assert!(error.hint.is_some());
        }
    }
}
