//! The sqlite plugin: reader and writer.
