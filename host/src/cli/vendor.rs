//! The flags of the commands that pack, install, accept and revoke plugins of vendors.

use std::path::PathBuf;

use clap::Args;

/// The flags of `plugin pack`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PackArgs {
    /// Library, or folder with libraries, licence texts and other files
    #[arg(value_name = "LIBRARY|DIR")]
    pub(crate) source: PathBuf,
    /// Who ships it [default: `publisher` in the folder's plugin-manifest.toml]
    #[arg(long, value_name = "NAME")]
    pub(crate) publisher: Option<String>,
    /// Its licence, such as `MIT` or `proprietary` [default: `license` in the same file]
    #[arg(long, value_name = "TEXT")]
    pub(crate) license: Option<String>,
    /// Secret key; `minisign` signs with it
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Where the folder NAME/VERSION is made
    #[arg(long, value_name = "DIR", default_value = "dist")]
    pub(crate) out: PathBuf,
}

/// The flags of `plugin install`.
#[derive(Clone, Debug, Args)]
pub(crate) struct InstallArgs {
    /// Folder that `plugin pack` has made
    #[arg(value_name = "DIR")]
    pub(crate) package: PathBuf,
    /// Install without a question
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Accept exactly these bytes, although no trusted publisher has signed them
    #[arg(long)]
    pub(crate) pin: bool,
    /// Where.
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// The flags of `plugin pin`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PinArgs {
    /// File of a library, folder of a plugin, or name of a plugin with a folder
    #[arg(value_name = "LIBRARY|DIR|NAME[@VERSION]")]
    pub(crate) what: String,
    /// Where.
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// The flags of `plugin trust`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TrustArgs {
    /// Name of the publisher, as in its manifests
    #[arg(value_name = "PUBLISHER")]
    pub(crate) publisher: String,
    /// Its public key, as `minisign` writes it
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Its plugins may run in the program's process
    #[arg(long)]
    pub(crate) in_process: bool,
    /// Where.
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// The flags of `plugin revoke`.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("revoked").required(true).multiple(true))]
pub(crate) struct RevokeArgs {
    /// Plugin, in all versions or in one
    #[arg(value_name = "NAME[@VERSION]", group = "revoked")]
    pub(crate) plugin: Option<String>,
    /// All plugins of this publisher
    #[arg(long, value_name = "NAME", group = "revoked")]
    pub(crate) publisher: Option<String>,
    /// What this key has signed
    #[arg(long, value_name = "ID", group = "revoked")]
    pub(crate) key_id: Option<String>,
    /// The library with this hash
    #[arg(long, value_name = "HASH", group = "revoked")]
    pub(crate) sha256: Option<String>,
    /// Why; errors show it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Where.
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// For whom.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlaceArgs {
    /// For all users: in /etc/transload and /usr/local/lib/transload/plugins
    #[arg(long)]
    pub(crate) system: bool,
}
