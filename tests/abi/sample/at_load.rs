//! What the library does while it is being loaded, on request by the variable `SAMPLE_AT_LOAD`:
//! nothing in here waits until the program calls it.
#![allow(unsafe_code, reason = "a function that the system's loader calls, and a system call")]

use std::{env, fs};

/// The loader calls it before anything else of the library.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;

extern "C" fn at_load() {
    let Ok(order) = env::var("SAMPLE_AT_LOAD") else { return };
    // A copy of the program that only looks whether the library loads.
    let is_probe = env::args().any(|argument| argument == "__probe");
    match order.split_once('=') {
        Some(("tell the environment", file)) if is_probe => {
            let variables: String =
                env::vars().map(|(name, value)| format!("{name}={value}\n")).collect();
            fs::write(file, variables).unwrap();
        }
        Some(("replace", files)) if is_probe => {
            let (library, by) = files.split_once(" by ").unwrap();
            fs::rename(by, library).unwrap();
        }
        None if order == "ignore signals" => {
            for signal in [2, 15] {
                // SAFETY: SIG_IGN is a valid disposition of SIGINT and SIGTERM.
                unsafe { signal_disposition(signal, 1) };
            }
        }
        _ => {}
    }
}

unsafe extern "C" {
    #[link_name = "signal"]
    fn signal_disposition(signal: i32, handler: usize) -> usize;
}
