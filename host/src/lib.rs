//! Moves tables between systems in batches: loads plugins, runs jobs.

pub mod catalog;
