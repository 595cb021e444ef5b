//! The frozen part.
