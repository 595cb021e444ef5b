//! The requirement that each required option, left out in turn, is refused by the plugin itself: the
//! host checks it before, but a plugin does not rely on that.

use super::{Subject, refused};
use crate::{Cancel, Error, ErrorKind, Host, OptionSpec, Options};

/// Runs `call`, which makes a reader or writer and calls its first method, without each of the
/// required options in turn.
pub(super) fn options<'a>(
    subject: &dyn Subject,
    specs: impl Iterator<Item = &'a OptionSpec>,
    given: &Options,
    call: impl Fn(Options, Host) -> Result<(), Error>,
) {
    for spec in specs.filter(|spec| spec.required) {
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
}
