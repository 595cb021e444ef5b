//! The reading side's verbs.
