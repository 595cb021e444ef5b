//! A database's address in an old document, as JDBC writes it: the connection that it becomes, and what
//! its parameters did.

use toml::Value;

use super::{
    connections::Address,
    cx::Cx,
    jdbc::{Jdbc, Store},
    job_text::Line,
    tree::{Fields, Item},
};

/// A database that a side of a job uses.
#[derive(Clone)]
pub(super) struct Database {
    pub(super) store: Store,
    /// The lines of the job by which it logs in.
    pub(super) login: Vec<Line>,
    /// Its name; empty if only the data source knows it.
    pub(super) name: String,
    /// The schema of names that have none.
    pub(super) schema: Option<String>,
    /// Host and port, to tell servers apart.
    pub(super) server: String,
}

/// Login of a document.
#[derive(Clone, Default)]
pub(super) struct Login<'n> {
    pub(super) user: Option<Item<'n>>,
    pub(super) password: Option<Item<'n>>,
}

impl<'n> Login<'n> {
    /// The login of a side. Encrypted values have a star before their key.
    pub(super) fn of(cx: &mut Cx<'_>, fields: &Fields<'n>) -> Self {
        if let Some(item) = fields.take("*username") {
            let hint = "write `user` into the connection";
            cx.notes.todo(&item, "the user is encrypted with a key of the old host", hint);
        }
        let encrypted = fields.take("*password");
        if let Some(item) = &encrypted {
            let message = "the password is encrypted with a key of the old host: the variable needs it in clear";
            cx.notes.changed(item, message);
        }
        Self { user: fields.take("username"), password: fields.take("password").or(encrypted) }
    }
}

/// The database of an address. `side` is `reader` or `writer`, or `None` for a further database of the same
/// server; `store` is what the plugin's name says.
pub(super) fn of_jdbc(
    cx: &mut Cx<'_>,
    url: &Item<'_>,
    login: &Login<'_>,
    store: Option<Store>,
    side: Option<&str>,
) -> Option<Database> {
    let text = cx.text(url)?;
    let jdbc = match Jdbc::parse(&text) {
        Ok(jdbc) => jdbc,
        Err(why) => {
            cx.notes.refuse(url, format!("the address cannot be read: {why}"), "");
            return None;
        }
    };
    let found = jdbc.store();
    let Some(found) = found.filter(|found| store.is_none_or(|store| store == *found)) else {
        let message = match store {
            Some(store) => format!(
                "the address is of `{}`, and the plugin reads and writes `{}`",
                jdbc.scheme,
                store.plugin()
            ),
            None => format!("there is no plugin for `jdbc:{}:` addresses", jdbc.scheme),
        };
        cx.notes.refuse(url, message, "`transload plugin list` shows the plugins that there are");
        return None;
    };
    let mut address = Address {
        plugin: found.plugin(),
        options: Vec::new(),
        secrets: Vec::new(),
        remarks: Vec::new(),
    };
    let mut database = Database {
        store: found,
        login: Vec::new(),
        name: jdbc.database.clone(),
        schema: None,
        server: format!("{}:{:?}", jdbc.host, jdbc.port),
    };
    if found == Store::Sqlite {
        address.options.push(("path", jdbc.database.clone().into()));
        database.name = String::new();
    } else {
        put_server(cx, url, &jdbc, &mut address);
        put_login(cx, login, &jdbc, &mut address);
    }
    for (name, value) in &jdbc.parameters {
        match found {
            Store::Mysql => of_mysql(cx, url, (name, value), &mut address),
            Store::Postgres => of_postgres(cx, url, (name, value), &mut address, &mut database),
            Store::Sqlite => not_carried(cx, url, name),
        }
    }
    let file = jdbc.database.rsplit('/').next().unwrap_or_default();
    let wish = if jdbc.database.contains("${") { &jdbc.host } else { file };
    let wish = wish.trim_end_matches(".db").trim_end_matches(".sqlite");
    if let Some(side) = side {
        database.login = cx.login(&address, wish, side);
    }
    Some(database)
}

fn put_server(cx: &mut Cx<'_>, url: &Item<'_>, jdbc: &Jdbc, address: &mut Address) {
    if !jdbc.other_hosts.is_empty() {
        let others = jdbc.other_hosts.join(", ");
        cx.notes.changed(url, format!("only the first host is used, not {others}"));
    }
    if jdbc.authority.contains("${") || jdbc.database.contains("${") {
        let scheme = if address.plugin == "mysql" { "mysql" } else { "postgres" };
        let text = format!("{scheme}://{}/{}", jdbc.authority, jdbc.database);
        address.options.push(("url", text.into()));
        return;
    }
    let host = if jdbc.host.is_empty() { "localhost" } else { &jdbc.host };
    address.options.push(("host", host.into()));
    if let Some(port) = jdbc.port.filter(|port| *port != usual_port(address.plugin)) {
        address.options.push(("port", i64::from(port).into()));
    }
    if !jdbc.database.is_empty() {
        address.options.push(("database", jdbc.database.clone().into()));
    }
}

fn usual_port(plugin: &str) -> u16 {
    if plugin == "mysql" { 3306 } else { 5432 }
}

fn put_login(cx: &mut Cx<'_>, login: &Login<'_>, jdbc: &Jdbc, address: &mut Address) {
    let parameter = |name: &str| {
        jdbc.parameters.iter().find(|(it, _)| it == name).map(|(_, value)| value.clone())
    };
    let user = login.user.as_ref().filter(|user| !user.node.is_blank());
    let user = match user {
        Some(user) => cx.text(user),
        None => parameter("user"),
    };
    if let Some(user) = user.filter(|user| !user.is_empty()) {
        address.options.push(("user", user.into()));
    }
    let password = match &login.password {
        Some(item) => item.node.text(),
        None => parameter("password"),
    };
    if let Some(password) = password.filter(|password| !password.is_empty()) {
        address.secrets.push(("password", password));
    }
}

fn of_mysql(cx: &mut Cx<'_>, url: &Item<'_>, (name, value): (&str, &str), address: &mut Address) {
    let lower = value.to_ascii_lowercase();
    match (name, lower.as_str()) {
        ("useSSL", "false") | ("sslMode" | "ssl-mode", "disabled") => {
            without_tls(cx, url, name, address)
        }
        ("sslMode" | "ssl-mode", "verify_ca") => put_tls(address, "verify-ca"),
        ("sslMode" | "ssl-mode", "required") => put_tls(address, "insecure-require"),
        ("allowPublicKeyRetrieval", "true") => {
            address.options.push(("allow_public_key_retrieval", true.into()));
        }
        ("connectTimeout", _) if lower.parse::<u32>().is_ok_and(|ms| ms > 0) => {
            address.options.push(("connect_timeout", format!("{lower} ms").into()));
        }
        ("serverTimezone" | "connectionTimeZone", _) => {
            let message = format!(
                "`{name}={value}` does not matter: DATETIME is copied as wall-clock time, TIMESTAMP as \
                 an instant"
            );
            cx.notes.unused(url, message);
        }
        ("sessionVariables", _) => {
            let message = format!(
                "`{name}={value}` is not carried over: sessions have settings of their own"
            );
            cx.notes.todo(
                url,
                message,
                "look whether the job needs it; docs/databases.md says what a session sets",
            );
        }
        _ if NO_EFFECT_MYSQL.contains(&name) => {}
        _ => not_carried(cx, url, name),
    }
}

fn of_postgres(
    cx: &mut Cx<'_>,
    url: &Item<'_>,
    (name, value): (&str, &str),
    address: &mut Address,
    database: &mut Database,
) {
    match (name, value) {
        ("sslmode", "disable") | ("ssl", "false") => without_tls(cx, url, name, address),
        ("sslmode", "require") => put_tls(address, "insecure-require"),
        ("sslmode", "verify-ca") => put_tls(address, "verify-ca"),
        ("sslmode", "verify-full") => put_tls(address, "verify-full"),
        ("currentSchema" | "searchpath", schema) if !schema.contains(',') => {
            database.schema = Some(schema.to_owned());
        }
        ("ApplicationName", _) => address.options.push(("application_name", value.into())),
        ("connectTimeout" | "loginTimeout", _) if value.parse::<u32>().is_ok_and(|s| s > 0) => {
            if !address.options.iter().any(|(key, _)| *key == "connect_timeout") {
                address.options.push(("connect_timeout", format!("{value} s").into()));
            }
        }
        _ if NO_EFFECT_POSTGRES.contains(&name) => {}
        _ => not_carried(cx, url, name),
    }
}

fn put_tls(address: &mut Address, mode: &str) {
    address.options.push(("tls", mode.into()));
}

fn without_tls(cx: &mut Cx<'_>, url: &Item<'_>, name: &str, address: &mut Address) {
    let message = format!("`{name}` says that the connection is not encrypted");
    let lines = ("tls = \"disable\" in the connection", "leave `tls` out in the connection");
    if !cx.notes.is_repaired("without-tls", url, message, lines) {
        address.options.push(("tls", Value::from("disable")));
    }
}

fn not_carried(cx: &mut Cx<'_>, url: &Item<'_>, name: &str) {
    cx.notes
        .unused(url, format!("`{name}` of the address is not carried over: it is the driver's"));
}

/// How the driver works, and what is always so here.
const NO_EFFECT_MYSQL: &[&str] = &[
    "user",
    "password",
    "useUnicode",
    "characterEncoding",
    "characterSetResults",
    "useSSL",
    "requireSSL",
    "verifyServerCertificate",
    "sslMode",
    "ssl-mode",
    "rewriteBatchedStatements",
    "useCursorFetch",
    "autoReconnect",
    "autoReconnectForPools",
    "failOverReadOnly",
    "maxReconnects",
    "useServerPrepStmts",
    "cachePrepStmts",
    "prepStmtCacheSize",
    "prepStmtCacheSqlLimit",
    "useCompression",
    "socketTimeout",
    "tinyInt1isBit",
    "zeroDateTimeBehavior",
    "yearIsDateType",
    "allowMultiQueries",
    "useLocalSessionState",
    "useJDBCCompliantTimezoneShift",
    "useLegacyDatetimeCode",
    "nullCatalogMeansCurrent",
    "serverTimezone",
    "useOldAliasMetadataBehavior",
    "allowLoadLocalInfile",
    "defaultFetchSize",
    "netTimeoutForStreamingResults",
    "allowPublicKeyRetrieval",
    "connectTimeout",
    "jdbcCompliantTruncation",
    "useAffectedRows",
];
const NO_EFFECT_POSTGRES: &[&str] = &[
    "user",
    "password",
    "ssl",
    "sslmode",
    "reWriteBatchedInserts",
    "socketTimeout",
    "stringtype",
    "prepareThreshold",
    "binaryTransfer",
    "tcpKeepAlive",
    "useUnicode",
    "characterEncoding",
    "charSet",
    "defaultRowFetchSize",
    "autosave",
    "connectTimeout",
    "loginTimeout",
    "targetServerType",
    "loadBalanceHosts",
    "sslfactory",
    "preferQueryMode",
];
