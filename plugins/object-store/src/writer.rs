//! The writing side's verbs.
