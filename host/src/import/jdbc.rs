//! JDBC addresses: which plugin they mean, the parts of the address, and their parameters.

use super::percent::decoded;

/// A store that both sides of a job know by a JDBC address or by the name of an old plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    Mysql,
    Postgres,
    Sqlite,
}

impl Store {
    /// The name of its plugin.
    pub(super) fn plugin(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }

    /// A name as the database quotes it.
    pub(super) fn quoted(self, name: &str) -> String {
        match self {
            Self::Mysql => format!("`{}`", name.replace('`', "``")),
            _ => format!("\"{}\"", name.replace('"', "\"\"")),
        }
    }

    /// A name without quotes as the database takes it.
    pub(super) fn folded(self, name: &str) -> String {
        match self {
            Self::Postgres => name.to_lowercase(),
            _ => name.to_owned(),
        }
    }
}

/// An address in its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Jdbc {
    pub(super) scheme: String,
    /// The first host and its port as they are written.
    pub(super) authority: String,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// Further hosts, which the driver tries if the first one does not respond.
    pub(super) other_hosts: Vec<String>,
    /// The database, or the path of a file.
    pub(super) database: String,
    pub(super) parameters: Vec<(String, String)>,
}

impl Jdbc {
    /// Takes an address apart.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let form = || "it is not of the form `jdbc:mysql://host:port/database`".to_owned();
        let rest = text.strip_prefix("jdbc:").ok_or_else(form)?;
        let (scheme, rest) = rest.split_once(':').ok_or_else(form)?;
        let scheme = scheme.to_lowercase();
        let (address, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let parameters = parameters.split('&').filter(|it| !it.trim().is_empty()).map(|it| {
            let (name, value) = it.split_once('=').unwrap_or((it, ""));
            (name.trim().to_owned(), decoded(value.trim()))
        });
        let parameters = parameters.collect();
        let Some(address) = address.strip_prefix("//") else {
            return Ok(Self {
                scheme,
                database: address.to_owned(),
                parameters,
                ..Self::default()
            });
        };
        let (hosts, database) = address.split_once('/').unwrap_or((address, ""));
        let mut hosts = hosts.split(',').map(str::trim);
        let first = hosts.next().unwrap_or_default();
        let other_hosts = hosts.map(str::to_owned).collect();
        let (host, port) = host_and_port(first).ok_or_else(form)?;
        let database = decoded(database.trim().trim_end_matches('/'));
        let authority = first.to_owned();
        Ok(Self { scheme, authority, host, port, other_hosts, database, parameters })
    }

    /// The store that it addresses.
    pub(super) fn store(&self) -> Option<Store> {
        match self.scheme.as_str() {
            "mysql" | "mariadb" => Some(Store::Mysql),
            "postgresql" | "postgres" => Some(Store::Postgres),
            "sqlite" => Some(Store::Sqlite),
            _ => None,
        }
    }
}

/// `host`, `host:port` or `[address]:port`. A parameter may stand for each.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let port = rest.strip_prefix(':').map(|port| port.parse().ok());
        return Some((host.to_owned(), port.unwrap_or(None)));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains('}') => {
            let port = port.trim().parse().ok().filter(|port| *port > 0)?;
            Some((host.trim().to_owned(), Some(port)))
        }
        _ => Some((text.to_owned(), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let jdbc = Jdbc::parse("jdbc:mysql://h1:3307,h2:3306/shop?useSSL=false&x=a%20b").unwrap();
        assert_eq!(
            (jdbc.host.as_str(), jdbc.port, jdbc.database.as_str()),
            ("h1", Some(3307), "shop")
        );
        assert_eq!(jdbc.other_hosts, ["h2:3306"]);
        assert_eq!(jdbc.parameters[1], ("x".to_owned(), "a b".to_owned()));
        assert_eq!(jdbc.store(), Some(Store::Mysql));
        let jdbc = Jdbc::parse("jdbc:postgresql://[::1]:5433/dw").unwrap();
        assert_eq!((jdbc.host.as_str(), jdbc.port), ("::1", Some(5433)));
        let jdbc = Jdbc::parse("jdbc:sqlite:/data/a.db").unwrap();
        assert_eq!((jdbc.store(), jdbc.database.as_str()), (Some(Store::Sqlite), "/data/a.db"));
        assert_eq!(Jdbc::parse("jdbc:oracle:thin:@h:1521:x").unwrap().store(), None);
        for wrong in ["mysql://h/d", "jdbc:mysql", "jdbc:mysql://h:port/d", "jdbc:mysql://h:0/d"] {
            assert!(Jdbc::parse(wrong).is_err(), "{wrong}");
        }
    }
}
