//! The lock on a target: runs that add rows share it, one that replaces them all has it alone. Made
//! of the servers' named locks, which are exclusive: a sharer holds one of the slots, the other one
//! holds them all. They go with the session.

use std::time::{Duration, Instant};

use sha1::{Digest as _, Sha1};
use transload_plugin_api::{Error, Result, Waiting, WriteMode};
use transload_tables::TableName;

use crate::{connect::Connector, dialect::text_literal, session::Session, stage::in_full};

/// How many runs may add rows to a table at a time.
const SLOTS: u32 = 8;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// How long the server keeps a session that holds the lock and says nothing: longer than this side
/// takes to notice that the way to the server is lost, and short enough for a run to be repeated soon
/// after its machine has died.
fn silence(connector: &Connector) -> Duration {
    2 * connector.address.idle_timeout
}

/// Lets the server end the session, and with it the lock, after a silence.
pub(crate) fn hold_for(session: &mut Session, connector: &Connector) -> Result<()> {
    // Rounded up: it counts whole seconds.
    let seconds = silence(connector).as_millis().div_ceil(1000).max(1);
    let sql = format!("SET SESSION wait_timeout = {seconds}");
    session.run("lock the target", &sql).map(drop)
}

/// How often a session that holds the lock is used while the job does nothing with it.
pub(crate) fn keep_alive(connector: &Connector) -> Duration {
    (silence(connector) / 6).max(Duration::from_millis(50))
}

/// Locks the target for a run in the session, which must live as long as the run. Waits for other
/// holders for as long as `patience`.
pub(crate) fn lock(
    session: &mut Session,
    target: &TableName,
    mode: WriteMode,
    patience: Duration,
) -> Result<()> {
    let (begun, mut missing) = (Instant::now(), (0..SLOTS).collect::<Vec<_>>());
    let mut waiting = None;
    loop {
        let mut held = Vec::new();
        for slot in missing {
            if !take(session, target, slot)? {
                held.push(slot);
            } else if mode != WriteMode::Overwrite {
                return Ok(());
            }
        }
        let Some(slot) = held.first() else { return Ok(()) };
        if begun.elapsed() >= patience {
            return Err(refused(session, target, *slot)?);
        }
        if waiting.is_none() {
            let holder = refused(session, target, *slot)?.hint.unwrap_or_default();
            let what = format_args!("waiting for table {target}: {holder}");
            waiting = Some(Waiting::new(what));
        }
        let cancel = session.cancel.clone();
        cancel.sleep(PAUSE)?;
        missing = held;
    }
}

/// A name of at most 64 letters.
fn slot_name(target: &TableName, slot: u32) -> String {
    let digest = Sha1::digest(in_full(target));
    let digits: String = transload_values::write::hex_string(&digest);
    text_literal(&format!("transload:{digits}:{slot}"))
}

fn take(session: &mut Session, target: &TableName, slot: u32) -> Result<bool> {
    let sql = format!("SELECT GET_LOCK({}, 0)", slot_name(target, slot));
    let rows = session.rows("lock the target", &sql)?;
    Ok(rows.first().and_then(|row| row.first()?.as_deref()) == Some("1"))
}

fn refused(session: &mut Session, target: &TableName, slot: u32) -> Result<Error> {
    let name = slot_name(target, slot);
    let sql = format!(
        "SELECT CONCAT('it is connection ', id, ' of user ', user, ', from ', host, ', for ', time, \
           ' s; if its run has died, `KILL ', id, '` ends it') \
         FROM information_schema.processlist WHERE id = IS_USED_LOCK({name})"
    );
    let rows = session.rows("look up the holder of the lock", &sql)?;
    let owner = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    let owner = owner.unwrap_or_else(|| "wait for it to end".to_owned());
    let message = format!("another run writes table `{target}`");
    Ok(Error::locked(message).hint(owner))
}
