//! The flags of `discover`.

use clap::Args;

/// The flags of `discover`.
#[derive(Debug, Args)]
pub(crate) struct DiscoverArgs {
    /// Name of the connection
    #[arg(value_name = "CONNECTION")]
    pub(crate) connection: String,
    /// Only tables that match: `orders`, `shop.*`, `!shop.tmp_*` [default: all]
    #[arg(value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,
    /// Show the columns of each table
    #[arg(long)]
    pub(crate) columns: bool,
    /// Environment, if the connection has several
    #[arg(long, value_name = "NAME")]
    pub(crate) env: Option<String>,
}
