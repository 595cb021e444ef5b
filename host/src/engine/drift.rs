//! Whether the target still is what the plan saw: looked at after the source is open, before anything
//! is written. Sources find out themselves when they are opened.

use transload_plugin_api::{Writer, code};

use crate::{Error, Exit, Result, journal, plan::Plan};

/// Fails if columns, types or keys of the target have changed since the plan.
pub(super) fn check(plan: &Plan, writer: &dyn Writer) -> Result<()> {
    let shows_columns = plan.target.exists && !plan.target.columns.is_empty();
    // A run that continues was compared by `resume`.
    if !shows_columns || plan.write.is_resumed {
        return Ok(());
    }
    let changes = journal::target_changes(plan, &writer.inspect()?);
    if changes.is_empty() {
        return Ok(());
    }
    let message =
        format!("{} has changed since the plan: {}", plan.target.name, changes.join("; "));
    Err(Error::new(Exit::Schema, message)
        .code(code::RUN_TARGET)
        .of_key("writer")
        .hint("nothing was written; run the job again, it plans anew"))
}
