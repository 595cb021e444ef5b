//! Addresses of stores as URLs and as Sling's connections have them: the plugin and the connection's
//! options.

use super::{connections::Address, percent::decoded, tree::Node};

/// The address that a URL says; `None` if no plugin has its scheme.
///
/// # Errors
/// What is missing in it, in words.
pub(super) fn address(text: &str) -> Result<Option<Address>, String> {
    let (scheme, rest) = text.split_once("://").ok_or("it is no URL")?;
    let scheme = scheme.to_lowercase();
    let plugin = match scheme.as_str() {
        "mysql" | "mariadb" => "mysql",
        "postgres" | "postgresql" | "pgsql" => "postgres",
        "sqlite" | "sqlite3" => "sqlite",
        "s3" | "gs" | "az" => "object-store",
        "file" => "file",
        _ => return Ok(None),
    };
    let mut address =
        Address { plugin, options: Vec::new(), secrets: Vec::new(), remarks: Vec::new() };
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    match plugin {
        "sqlite" => address.options.push(("path", rest.into())),
        "file" => {}
        "object-store" => {
            let bucket = rest.split('/').next().unwrap_or_default();
            address.options.push(("url", format!("{scheme}://{bucket}").into()));
        }
        _ => server(rest, parameters, &mut address)?,
    }
    Ok(Some(address))
}

/// `user:password@host:port/database`
fn server(rest: &str, parameters: &str, address: &mut Address) -> Result<(), String> {
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (login, place),
        None => ("", rest),
    };
    // pgloader writes a socket as `unix:/path:port`.
    let (host, database) = match place.strip_prefix("unix:") {
        Some(socket) => socket.split_once(':').map_or((socket, ""), |(path, rest)| {
            (path, rest.split_once('/').map_or("", |(_, database)| database))
        }),
        None => place.split_once('/').unwrap_or((place, "")),
    };
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !host.starts_with('/') => (host, Some(port)),
        _ => (host, None),
    };
    address.options.push(("host", if host.is_empty() { "localhost" } else { host }.into()));
    if let Some(port) = port.filter(|port| !port.is_empty()) {
        let port: u16 = port.parse().map_err(|_| format!("`{port}` is no port"))?;
        address.options.push(("port", i64::from(port).into()));
    }
    if !database.is_empty() {
        address.options.push(("database", decoded(database).into()));
    }
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    if !user.is_empty() {
        address.options.push(("user", decoded(user).into()));
    }
    if !password.is_empty() {
        address.secrets.push(("password", decoded(password)));
    }
    for (name, value) in parameters.split('&').filter_map(|it| it.split_once('=')) {
        if name == "sslmode" {
            put_tls(address, value);
        }
    }
    Ok(())
}

fn put_tls(address: &mut Address, mode: &str) {
    let mode = match mode {
        "disable" => "disable",
        "require" => "insecure-require",
        "verify-ca" => "verify-ca",
        _ => return,
    };
    address.options.push(("tls", mode.into()));
}

/// A connection of Sling's `env.yaml`: an object with `type` or `url`, or a URL.
///
/// # Errors
/// What is missing in it, in words.
pub(super) fn of_sling(node: &Node) -> Result<Option<Address>, String> {
    let text = |key: &str| node.get(key).and_then(Node::text);
    if let Some(url) = node.text().or_else(|| text("url")) {
        return address(&url);
    }
    let kind = text("type").ok_or("it has neither `type` nor `url`")?.to_lowercase();
    let plugin = match kind.as_str() {
        "postgres" | "postgresql" => "postgres",
        "mysql" | "mariadb" => "mysql",
        "sqlite" => "sqlite",
        "s3" => "object-store",
        "file" | "local" => "file",
        _ => return Ok(None),
    };
    let mut address =
        Address { plugin, options: Vec::new(), secrets: Vec::new(), remarks: Vec::new() };
    if plugin == "object-store" {
        let bucket = text("bucket").ok_or("it has no `bucket`")?;
        address.options.push(("url", format!("s3://{bucket}").into()));
    }
    let names = [
        ("host", "host"),
        ("database", "database"),
        ("user", "user"),
        ("username", "user"),
        ("instance", "path"),
        ("endpoint", "endpoint"),
        ("region", "region"),
        ("access_key_id", "access_key_id"),
    ];
    for (theirs, ours) in names {
        address.options.extend(text(theirs).map(|value| (ours, value.into())));
    }
    if let Some(port) = text("port") {
        let port: u16 = port.parse().map_err(|_| format!("`{port}` is no port"))?;
        address.options.push(("port", i64::from(port).into()));
    }
    for key in ["password", "secret_access_key", "session_token"] {
        address.secrets.extend(text(key).map(|value| (key, value)));
    }
    if let Some(mode) = text("sslmode") {
        put_tls(&mut address, &mode);
    }
    Ok(Some(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let address = address(text).unwrap().unwrap();
        let options: Vec<_> =
            address.options.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{} {} {}", address.plugin, options.join(" "), address.secrets.len())
    }

    #[test]
    fn urls_become_connections() {
        for (url, expected) in [
            (
                "mysql://root@localhost/sakila",
                "mysql host=\"localhost\" database=\"sakila\" user=\"root\" 0",
            ),
            ("postgresql:///dw", "postgres host=\"localhost\" database=\"dw\" 0"),
            (
                "pgsql://u:p%40@h:5433/d?sslmode=disable",
                "postgres host=\"h\" port=5433 database=\"d\" user=\"u\" tls=\"disable\" 1",
            ),
            (
                "mysql://u@unix:/tmp/my.sock:3306/d",
                "mysql host=\"/tmp/my.sock\" database=\"d\" user=\"u\" 0",
            ),
            ("sqlite:///data/a.db", "sqlite path=\"/data/a.db\" 0"),
            ("s3://bucket/a", "object-store url=\"s3://bucket\" 0"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
        assert!(address("mssql://h/d").unwrap().is_none());
        assert!(address("mysql").is_err() && address("mysql://h:x/d").is_err());
    }
}
