//! The file plugin from outside, through the verbs that a host calls.

mod host;
mod reading;
mod round_trip;
mod splitting;
mod writing;
