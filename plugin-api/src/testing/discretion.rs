//! The requirement that no secret shows: not in an error, a finding or the log, whatever the store
//! says of a login that it refuses. Every secret option gets a value of its own that no store knows.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::Interest,
};

use super::{expect, options_of};
use crate::{Cancel, Descriptor, Host, OptionSpec, Result, Secret, Secrets};

/// What every made-up secret contains.
const CANARY: &str = "canary-5d1f9c";

/// A value for every secret.
pub(super) struct Canaries;

impl Secrets for Canaries {
    fn secret(&self, key: &str) -> Result<Option<Secret>> {
        Ok(Some(Secret::new(format!("{CANARY}-{key}"))))
    }
}

/// Whether there is a secret that could show.
pub(super) fn has_secrets(descriptor: &Descriptor, own: &[OptionSpec]) -> bool {
    options_of(descriptor, own).any(|spec| spec.secret)
}

/// A host whose secrets are made up.
pub(super) fn host() -> Host {
    Host::new(Arc::new(Canaries), Cancel::new())
}

/// Runs a call whose outcome and log must not show a secret, and returns its outcome.
#[track_caller]
pub(super) fn discreet<T: std::fmt::Debug>(
    what: &str,
    call: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let log = Log::default();
    let outcome = tracing::subscriber::with_default(log.clone(), call);
    let said = match &outcome {
        Ok(value) => format!("{value:?}"),
        Err(error) => {
            let json = expect(serde_json::to_string(error), "an error as JSON");
            format!("{error} {error:?} {json}")
        }
    };
    assert!(!said.contains(CANARY), "{what}: its result shows a secret: {said}");
    let said = log.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(!said.contains(CANARY), "{what}: the log shows a secret: {said}");
    outcome
}

/// The events of a call as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Log {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut Text(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)));
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut Text(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Text(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
