//! The object store plugin: files in S3, Azure Blob Storage, Google Cloud Storage or a local folder.
