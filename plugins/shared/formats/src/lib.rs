//! Bytes to record batches and back, without I/O: CSV, JSON, compression, inference.
