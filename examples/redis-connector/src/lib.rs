//! A connector for Redis: one hash for each row, under `PREFIX:KEY`. What it declares is here; the
//! wire is in `resp`, what the keys mean in `store`.

mod reader;
mod resp;
mod store;
mod writer;

use transload_plugin_api::*;

use store::Store;

/// The plugin.
pub struct Redis;

export_plugin!(Redis);

/// Every option, stated here alone.
fn specs() -> Vec<OptionSpec> {
    let port = OptionKind::Integer { min: 1, max: 65_535 };
    let timeout = OptionSpec::new("timeout", OptionKind::Duration, "How long a request may take");
    vec![
        OptionSpec::new("host", OptionKind::Text, "The server").default("127.0.0.1").connection(),
        OptionSpec::new("port", port, "Its port").default(6_379).connection(),
        OptionSpec::new("password", OptionKind::Text, "The password").secret(),
        timeout.default("30 s").connection(),
        OptionSpec::new("prefix", OptionKind::Text, "What the keys begin with").required(),
    ]
}

/// `redis://:password@host:port/#prefix`, and `CONNECTION:prefix`.
fn addressing() -> Addressing {
    let url = UrlForm::new(&["redis"], "redis://127.0.0.1:6379/#prices")
        .part(UrlPart::Password, "password")
        .part(UrlPart::Host, "host")
        .part(UrlPart::Port, "port")
        .part(UrlPart::Fragment, "prefix");
    Addressing { object: "prefix".to_owned(), urls: vec![url], paths: None }
}

/// The pages of `transload explain`.
fn codes() -> Vec<CodePage> {
    let columns = "\
**Cause.** Nothing has noted the columns of these keys: they were not written by this connector.

**Example.** `the columns of prices are not known`

**What to do.** Name columns and types in the job, in `[reader.schema]`.";
    let refused = "\
**Cause.** The server refused a command; its own word follows `REDIS-`.

**Example.** `OOM command not allowed when used memory > 'maxmemory'`

**What to do.** Look the word up in the documentation of Redis.";
    vec![
        CodePage::new("REDIS-COLUMNS", "the columns of a prefix are not known", columns),
        CodePage::new("REDIS-...", "the server refused a command", refused),
    ]
}

/// The types whose texts are exact both ways.
const TYPES: [&str; 20] = [
    "boolean", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32",
    "float64", "decimal", "numeric", "text", "binary", "date", "time", "timestamp", "timestamptz",
    "uuid",
];

impl Plugin for Redis {
    fn descriptor(&self) -> Descriptor {
        use ConflictEffect as Effect;
        let types: Vec<_> = TYPES.map(|name| TypeSupport::new(name, &["string"])).into();
        let mode = |mode, effect, guarantee, doc| {
            WriteModeSpec::new(mode, KeyNeed::UniqueKey, effect, guarantee, doc)
        };
        let convergent = Guarantee::Convergent;
        Descriptor {
            name: "redis".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Redis 6 or later, a hash for each row".to_owned(),
            vendor: "Example".to_owned(),
            options: specs(),
            addressing: addressing(),
            codes: codes(),
            counts: vec![CountSpec::new("keys_listed", "keys were listed").in_summary()],
            reader: Some(ReaderDescriptor {
                types: types.clone(),
                ability: SplitAbility::Seekable,
                parses_text: true,
                ..ReaderDescriptor::default()
            }),
            writer: Some(WriterDescriptor {
                types,
                modes: vec![
                    mode(WriteMode::Insert, Effect::Dirty, Guarantee::AtLeastOnce, "adds hashes"),
                    mode(WriteMode::Ignore, Effect::Skip, convergent, "keeps hashes that exist"),
                    mode(WriteMode::Upsert, Effect::Update, convergent, "sets fields"),
                    mode(WriteMode::Replace, Effect::Replace, convergent, "replaces hashes"),
                ],
                job_names_key: true, // Redis does not know which columns make a key
                ..WriterDescriptor::default()
            }),
            ..Descriptor::default()
        }
    }

    fn reader(&self, options: Options, host: Host) -> Result<Box<dyn Reader>> {
        Ok(Box::new(Store::new(&options, host)?))
    }

    fn writer(&self, options: Options, host: Host) -> Result<Box<dyn Writer>> {
        Ok(Box::new(Store::new(&options, host)?))
    }
}
