//! The real program in fresh folders, and every plugin through its library.
