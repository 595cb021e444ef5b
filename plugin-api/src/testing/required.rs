//! The requirements that a plugin refuses wrong options itself: each required option left out in turn,
//! and each option with a value of another kind. The host checks both before, but a plugin does not
//! rely on that.

use serde_json::{Value, json};

use super::{Subject, refused};
use crate::{Cancel, Error, ErrorKind, Host, OptionKind, OptionSpec, Options};

/// Runs `call`, which makes a reader or writer and calls its first method, without each of the
/// required options in turn, and with a wrong value of each option that the subject gives.
pub(super) fn options<'a>(
    subject: &dyn Subject,
    specs: impl Iterator<Item = &'a OptionSpec>,
    given: &Options,
    call: impl Fn(Options, Host) -> Result<(), Error>,
) {
    for spec in specs {
        if spec.required {
            missing(subject, spec, given, &call);
        }
        if let Some(wrong) = wrong_value(&spec.kind).filter(|_| !spec.secret) {
            let mut options = given.clone();
            let what = format!("option `{}` with the value `{wrong}`", spec.key);
            options.values.insert(spec.key.clone(), wrong);
            let host = Host::new(subject.secrets(), Cancel::new());
            refused(call(options, host), &[ErrorKind::Options], &what);
        }
    }
}

fn missing(
    subject: &dyn Subject,
    spec: &OptionSpec,
    given: &Options,
    call: &impl Fn(Options, Host) -> Result<(), Error>,
) {
    let key = &spec.key;
    let mut options = given.clone();
    let mut host = Host::new(subject.secrets(), Cancel::new());
    if spec.secret {
        host = Host::detached();
    } else {
        let given = options.values.remove(key).is_some();
        assert!(given, "the subject does not give the required option `{key}`");
    }
    let what = format!("options without the required `{key}`");
    refused(call(options, host), &[ErrorKind::Options], &what);
}

/// A value that an option of this kind does not take.
fn wrong_value(kind: &OptionKind) -> Option<Value> {
    let wrong = match kind {
        OptionKind::Integer { max, .. } if *max < i64::MAX => json!(max + 1),
        OptionKind::Map => json!(1),
        _ => json!({"no": "value"}),
    };
    kind.convert(&wrong).is_err().then_some(wrong)
}
