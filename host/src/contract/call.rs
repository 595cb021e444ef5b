//! Which function of which plugin each thread is in, so that an end of the process that a plugin
//! caused can be traced to it.

use std::{
    cell::Cell,
    fmt,
    sync::OnceLock,
    thread::{self, ThreadId},
};

use parking_lot::Mutex;
use transload_plugin_api::code;

use crate::catalog::Role;

/// A call of a plugin's function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The plugin's name.
    pub(crate) plugin: &'static str,
    /// As what it is called.
    pub(crate) role: Role,
    /// The function's name in the contract.
    pub(crate) verb: &'static str,
}

thread_local! {
    /// Without a destructor: it can be read while the thread, or the process, is ending.
    static RUNNING: Cell<Option<Call>> = const { Cell::new(None) };
}

/// The calls that have not returned, of all threads.
static ACTIVE: Mutex<Vec<(ThreadId, Call)>> = Mutex::new(Vec::new());

/// The names of the plugins loaded so far.
static LOADED: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

/// The first of them again, for a signal handler, which may not lock.
static NAMES: [OnceLock<&'static str>; 8] = [const { OnceLock::new() }; 8];

/// Adds a plugin to those that are loaded, and returns its name for the life of the process, which is
/// also that of its library.
pub(crate) fn loaded(name: &str) -> &'static str {
    let mut loaded = LOADED.lock();
    if let Some(known) = loaded.iter().find(|known| **known == name) {
        return known;
    }
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    if let Some(free) = NAMES.get(loaded.len()) {
        let _ = free.set(name);
    }
    loaded.push(name);
    name
}

impl Call {
    /// Runs the function as this call. A plugin may call back, and another plugin from there: the
    /// outer call continues afterwards.
    pub(super) fn run<T>(self, function: impl FnOnce() -> T) -> T {
        struct Outer(Option<Call>, ThreadId);
        impl Drop for Outer {
            fn drop(&mut self) {
                RUNNING.set(self.0);
                let mut active = ACTIVE.lock();
                if let Some(at) = active.iter().rposition(|(thread, _)| *thread == self.1) {
                    active.swap_remove(at);
                }
            }
        }
        let thread = thread::current().id();
        ACTIVE.lock().push((thread, self));
        let _outer = Outer(RUNNING.replace(Some(self)), thread);
        function()
    }

    /// The calls that have not returned, of all threads.
    pub(crate) fn active() -> Vec<Self> {
        ACTIVE.lock().iter().map(|(_, call)| *call).collect()
    }

    /// The call that this thread is in.
    pub(crate) fn running() -> Option<Self> {
        RUNNING.get()
    }

    /// Says in a signal handler who crashed on this thread: it neither allocates nor locks. Whether there
    /// was something to say: before the first plugin is loaded, a crash is the program's own.
    pub(crate) fn describe_crash(print: &dyn Fn(&str)) -> bool {
        let mut names = NAMES.iter().map_while(OnceLock::get);
        let call = RUNNING.get();
        let Some(first) = call.map(|call| call.plugin).or_else(|| names.next().copied()) else {
            return false;
        };
        let begin = ["error: [", code::PLUGIN_CRASH, "] "];
        begin.into_iter().for_each(print);
        match call {
            Some(Self { plugin, role, verb }) => {
                let parts = ["plugin `", plugin, "`, ", role.word(), ", crashed in `", verb, "`\n"];
                parts.into_iter().for_each(print);
            }
            None => {
                ["a thread of a plugin crashed (", first].into_iter().for_each(print);
                names.for_each(|name| [", ", name].into_iter().for_each(print));
                print(")\n");
            }
        }
        true
    }

    /// Who ended the process on this thread: the call, or a thread of one of the plugins.
    pub(crate) fn culprit() -> String {
        match Self::running() {
            Some(call) => call.to_string(),
            None => format!("a thread of a plugin ({})", LOADED.lock().join(", ")),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plugin, role, verb } = self;
        write!(f, "plugin `{plugin}`, {role}, `{verb}`")
    }
}
