//! Points at which a test ends the process, and defects that a test asks for, to show that it would
//! find them. Builds without debug assertions have neither.

/// Ends the process at once, without destructors, if `TRANSLOAD_FAILPOINT` names this point:
/// `K5` at its first pass, `K5#3` at its third.
#[inline]
pub fn failpoint(name: &str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Whether `TRANSLOAD_DEFECT` asks for this defect: the code behind it is wrong on purpose.
#[inline]
pub fn has_defect(name: &str) -> bool {
    cfg!(debug_assertions) && std::env::var("TRANSLOAD_DEFECT").is_ok_and(|wanted| wanted == name)
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    };

    /// The point that ends the process, and at which pass.
    struct Armed {
        name: String,
        pass: u64,
        passed: AtomicU64,
    }

    /// Read once: a failpoint may stand in a loop.
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    pub(super) fn pass(name: &str) {
        let armed = ARMED.get_or_init(|| std::env::var("TRANSLOAD_FAILPOINT").ok().map(parse));
        if let Some(armed) = armed.as_ref().filter(|armed| armed.name == name)
            && armed.passed.fetch_add(1, Relaxed) + 1 == armed.pass
        {
            std::process::abort();
        }
    }

    fn parse(text: String) -> Armed {
        let (name, pass) = text.split_once('#').unwrap_or((&text, "1"));
        let pass = pass.parse().unwrap_or(1);
        Armed { name: name.to_owned(), pass, passed: AtomicU64::new(0) }
    }
}
