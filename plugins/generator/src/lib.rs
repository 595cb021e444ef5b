//! The generator plugin: reader and writer.
