//! The file plugin: reader and writer.
