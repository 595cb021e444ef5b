//! How a Parquet file is written: the options of a job, and the settings of arrow-rs derived from
//! them.

use parquet::{
    basic::{Compression, GzipLevel, ZstdLevel},
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder},
    },
};
use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, Result};

use crate::MAX_RECORD;

/// The value of `created_by` in the footer.
pub(super) const CREATED_BY: &str = concat!("transload version ", env!("CARGO_PKG_VERSION"));

/// How a Parquet file is written. The defaults suit most files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParquetOptions {
    /// How pages are compressed.
    pub compression: ParquetCompression,
    /// Compression effort: gzip 0 to 9 (default 6), zstd 1 to 22 (default 1).
    pub compression_level: Option<i32>,
    /// A row group ends at this many rows ...
    pub row_group_rows: usize,
    /// ... or at about this many encoded bytes, which are in memory until then.
    pub row_group_bytes: usize,
    /// Whether repeated values are written once, if that is shorter.
    pub dictionary: bool,
    /// Which minimum and maximum values are stored.
    pub statistics: ParquetStatistics,
    /// Whether each page has a checksum.
    pub page_checksums: bool,
    /// The target size of a page in bytes, before compression.
    pub page_bytes: usize,
    /// The most bytes of a value; a row with a larger one is refused.
    pub max_record: usize,
}

/// How pages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParquetCompression {
    /// Not at all.
    None,
    /// Fast, and supported by every reader.
    Snappy,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    #[default]
    Zstd,
    /// The format's `LZ4_RAW`.
    Lz4,
}

/// Which minimum and maximum values are stored, so that readers can skip data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParquetStatistics {
    /// Nothing.
    None,
    /// For each column of a row group.
    #[default]
    Chunk,
    /// For each page too.
    Page,
}

impl Default for ParquetOptions {
    fn default() -> Self {
        Self {
            compression: ParquetCompression::default(),
            compression_level: None,
            row_group_rows: 250_000,
            row_group_bytes: 128 << 20,
            dictionary: true,
            statistics: ParquetStatistics::default(),
            page_checksums: true,
            page_bytes: 1 << 20,
            max_record: MAX_RECORD,
        }
    }
}

impl ParquetOptions {
    /// The settings of arrow-rs, with the given entries in the footer.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for numbers out of range.
    pub(super) fn properties(&self, footer: Vec<KeyValue>) -> Result<WriterPropertiesBuilder> {
        if self.row_group_rows == 0 || self.page_bytes == 0 || self.page_bytes > 128 << 20 {
            let text =
                "`row_group_rows` must not be 0, and `page_bytes` must be between 1 and 128 MiB";
            return Err(Error::options(text));
        }
        let statistics = match self.statistics {
            ParquetStatistics::None => EnabledStatistics::None,
            ParquetStatistics::Chunk => EnabledStatistics::Chunk,
            ParquetStatistics::Page => EnabledStatistics::Page,
        };
        let properties = WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_key_value_metadata(Some(footer))
            .set_compression(self.compression()?)
            .set_dictionary_enabled(self.dictionary)
            .set_statistics_enabled(statistics)
            .set_offset_index_disabled(self.statistics != ParquetStatistics::Page)
            .set_data_page_size_limit(self.page_bytes)
            .set_max_row_group_row_count(None);
        Ok(properties)
    }

    fn compression(&self) -> Result<Compression> {
        let refused = |levels: &str| {
            let given = self.compression_level.unwrap_or_default();
            let text = format!("`compression_level = {given}` is invalid: {levels}");
            Error::options(text)
        };
        Ok(match (self.compression, self.compression_level) {
            (ParquetCompression::Gzip, level) => {
                let level = u32::try_from(level.unwrap_or(6)).ok().filter(|level| *level <= 9);
                let level = level.and_then(|level| GzipLevel::try_new(level).ok());
                Compression::GZIP(level.ok_or_else(|| refused("gzip has levels 0 to 9"))?)
            }
            (ParquetCompression::Zstd, level) => {
                let level = Some(level.unwrap_or(1)).filter(|level| *level >= 1);
                let level = level.and_then(|level| ZstdLevel::try_new(level).ok());
                Compression::ZSTD(level.ok_or_else(|| refused("zstd has levels 1 to 22"))?)
            }
            (_, Some(_)) => {
                return Err(refused("`none`, `snappy` and `lz4` have no levels"));
            }
            (ParquetCompression::None, None) => Compression::UNCOMPRESSED,
            (ParquetCompression::Snappy, None) => Compression::SNAPPY,
            (ParquetCompression::Lz4, None) => Compression::LZ4_RAW,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(json: &str) -> Result<WriterPropertiesBuilder, String> {
        let options: ParquetOptions = serde_json::from_str(json).map_err(|e| e.to_string())?;
        options.properties(Vec::new()).map_err(|e| e.message)
    }

    #[test]
    fn levels_and_sizes_have_bounds() {
        for good in [
            "{}",
            r#"{"compression": "gzip", "compression_level": 9}"#,
            r#"{"compression": "zstd", "compression_level": 22}"#,
            r#"{"compression": "lz4", "statistics": "none"}"#,
        ] {
            properties(good).unwrap();
        }
        for (bad, text) in [
            (r#"{"compression": "gzip", "compression_level": 10}"#, "gzip has levels 0 to 9"),
            (r#"{"compression": "zstd", "compression_level": 0}"#, "zstd has levels 1 to 22"),
            (r#"{"compression": "snappy", "compression_level": 1}"#, "have no levels"),
            (r#"{"compression": "brotli"}"#, "unknown variant"),
            (r#"{"row_group_rows": 0}"#, "must not be 0"),
            (r#"{"page_size": 1}"#, "unknown field"),
        ] {
            let error = properties(bad).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
