//! Databases on real servers, one per test, inspected with the servers' own clients: `psql` and
//! `mariadb`. Environment variables hold the servers' addresses; `tests/run` starts them.

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::texts;

/// The servers that tests support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    Mariadb,
    /// MySQL itself.
    Mysql,
}

impl Product {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Postgres, Self::Mariadb, Self::Mysql];

    /// The name used in its script and its variable.
    pub fn word(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mariadb => "mariadb",
            Self::Mysql => "mysql",
        }
    }

    /// The plugin for it.
    pub fn plugin(self) -> &'static str {
        if self == Self::Postgres { "postgres" } else { "mysql" }
    }
}

/// A server's address and login.
#[derive(Clone, Debug)]
pub struct Server {
    /// The product.
    pub product: Product,
    /// Its address.
    pub host: String,
    /// Its port; the proxy's if there is one.
    pub port: u16,
    /// The login that creates databases.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl Server {
    /// The server in the product's environment variable.
    ///
    /// # Panics
    /// If the variable is not set.
    pub fn of(product: Product) -> Self {
        let word = product.word();
        let variable = format!("TRANSLOAD_TEST_{}", word.to_uppercase());
        let url = std::env::var(&variable).unwrap_or_else(|_| {
            panic!(
                "{variable} is not set: run `tests/servers/{word} start DIR`, export what it prints"
            )
        });
        Self::at(product, &url)
    }

    /// The server at `scheme://user:password@host:port/database`.
    ///
    /// # Panics
    /// If the URL does not have that form.
    pub fn at(product: Product, url: &str) -> Self {
        let parts = || {
            let (_, rest) = url.split_once("://")?;
            let (login, place) = rest.rsplit_once('@')?;
            let (user, password) = login.split_once(':')?;
            let (host, port) = place.split('/').next()?.rsplit_once(':')?;
            Some((user, password, host, port.parse().ok()?))
        };
        let (user, password, host, port) = parts().expect("scheme://user:password@host:port/name");
        let (user, password) = (user.to_owned(), password.to_owned());
        Self { product, host: host.to_owned(), port, user, password }
    }

    /// The user and the password.
    pub fn login(&self) -> (&str, &str) {
        (&self.user, &self.password)
    }

    /// The client program, prepared to connect to a database of the server.
    fn client(&self, database: &str) -> Command {
        let port = self.port.to_string();
        let mut command;
        if self.product == Product::Postgres {
            command = Command::new("psql");
            command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", &self.host]);
            command.args(["-p", &port, "-U", &self.user, "-d", database]);
            command.env("PGPASSWORD", &self.password).env("PGCLIENTENCODING", "UTF8");
            command.env("PGOPTIONS", "-c timezone=UTC -c client_min_messages=warning");
        } else {
            command = Command::new("mariadb");
            command.args(["--no-defaults", "--default-character-set=utf8mb4", "-N", "-B", "-n"]);
            command.args(["-h", &self.host, "-P", &port, "-u", &self.user, database]);
            command.args(["--init-command", "SET time_zone = '+00:00'"]);
            command.env("MYSQL_PWD", &self.password);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start_client(&self, database: &str) -> Child {
        let mut command = self.client(database);
        command.spawn().expect("the clients `psql` and `mariadb`: tests/servers/install")
    }

    fn try_run(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut child = self.start_client(database);
        let mut stdin = child.stdin.take().expect("a pipe");
        let sql = sql.to_owned();
        // Its output may fill the pipe before it has read all input.
        let writing = std::thread::spawn(move || stdin.write_all(sql.as_bytes()));
        let output = child.wait_with_output().expect("the client ends");
        let written = writing.join().expect("no panic");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() && written.is_ok() {
            Ok(String::from_utf8(output.stdout).expect("UTF-8"))
        } else {
            Err(said)
        }
    }

    /// Runs statements in the database that every server has.
    ///
    /// # Panics
    /// If they fail.
    #[track_caller]
    pub fn administer(&self, sql: &str) -> String {
        self.try_administer(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// As [`Server::administer`], for statements that may fail.
    ///
    /// # Errors
    /// The client's message.
    pub fn try_administer(&self, sql: &str) -> Result<String, String> {
        let database = if self.product == Product::Postgres { "postgres" } else { "mysql" };
        self.try_run(database, sql)
    }
}

/// A database that is removed when it is dropped.
pub struct Database {
    /// Its server.
    pub server: Server,
    /// Its name.
    pub name: String,
    folder: tempfile::TempDir,
}

impl Database {
    /// A new database on the product's server, in which `sql` has been run.
    ///
    /// # Panics
    /// If there is no server, or the SQL fails.
    pub fn new(product: Product, sql: &str) -> Self {
        Self::on(&Server::of(product), sql)
    }

    /// A new database on a server, in which `sql` has been run.
    ///
    /// # Panics
    /// If the SQL fails.
    pub fn on(server: &Server, sql: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("e_{}_{number}", std::process::id());
        let more = if server.product == Product::Postgres { "" } else { " CHARACTER SET utf8mb4" };
        server.administer(&format!("CREATE DATABASE {name}{more};"));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let secret = folder.path().join("password");
        fs::write(&secret, &server.password).expect("a file");
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("a mode");
        let database = Self { server: server.clone(), name, folder };
        database.run(sql);
        database
    }

    /// Lines for a job's section with the address; with a proxy's port if one is given.
    pub fn address(&self, port: Option<u16>) -> String {
        let Server { host, user, product, .. } = &self.server;
        // A server that was restarted in a test asks for the password itself.
        let key = match product {
            Product::Mysql => "allow_public_key_retrieval = true\n",
            _ => "",
        };
        format!(
            "{key}plugin = \"{}\"\nhost = \"{host}\"\nport = {}\nuser = \"{user}\"\n\
             database = \"{}\"\npassword = {{ file = \"{}\" }}\n",
            product.plugin(),
            port.unwrap_or(self.server.port),
            self.name,
            self.folder.path().join("password").display()
        )
    }

    /// Runs statements.
    ///
    /// # Panics
    /// If they fail.
    #[track_caller]
    pub fn run(&self, sql: &str) {
        let shown = || sql.chars().take(500).collect::<String>();
        self.try_run(sql).unwrap_or_else(|error| panic!("{}: {error}", shown()));
    }

    /// Runs statements.
    ///
    /// # Errors
    /// The client's message.
    pub fn try_run(&self, sql: &str) -> Result<(), String> {
        self.server.try_run(&self.name, sql).map(drop)
    }

    /// The rows of a query whose values contain neither tabs nor line ends: cells joined by `|`.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn lines(&self, query: &str) -> Vec<String> {
        let output = self.server.try_run(&self.name, &format!("{query};"));
        let output = output.unwrap_or_else(|error| panic!("{query}: {error}"));
        output.lines().map(|line| line.replace('\t', "|")).collect()
    }

    /// The names of its tables.
    ///
    /// # Panics
    /// If the server does not list them.
    pub fn tables(&self) -> Vec<String> {
        self.lines(match self.server.product {
            Product::Postgres => "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
            _ => "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
        })
    }

    /// The single value of a query.
    ///
    /// # Panics
    /// If it fails or returns no row.
    #[track_caller]
    pub fn value(&self, query: &str) -> String {
        self.lines(query).into_iter().next().unwrap_or_else(|| panic!("{query}: no row"))
    }

    /// Rows of a table in the order of its first column; each expression as text produced by the
    /// server, with any characters.
    ///
    /// # Panics
    /// If the query fails.
    pub fn texts(&self, table: &str, expressions: &[String]) -> Vec<Vec<Option<String>>> {
        if self.server.product == Product::Postgres {
            let list = expressions.join(", ");
            let query = format!(
                "COPY (SELECT {list} FROM {table} ORDER BY 1) TO STDOUT (FORMAT csv, FORCE_QUOTE *);"
            );
            let output = self.server.try_run(&self.name, &query);
            return texts::records(&output.unwrap_or_else(|error| panic!("{query}: {error}")));
        }
        // The client's own escapes do not distinguish NULL from the text `NULL`; hexadecimal does.
        let hex = |text: &String| format!("HEX(CAST({text} AS CHAR CHARACTER SET utf8mb4))");
        let list: Vec<_> = expressions.iter().map(hex).collect();
        let order = &expressions[0];
        let query = format!("SELECT {} FROM {table} ORDER BY {order};", list.join(", "));
        let output = self.server.try_run(&self.name, &query);
        let output = output.unwrap_or_else(|error| panic!("{query}: {error}"));
        let cell = |cell: &str| (cell != "NULL").then(|| texts::from_hex(cell));
        output.lines().map(|line| line.split('\t').map(cell).collect()).collect()
    }

    /// A second client that stays connected.
    pub fn session(&self) -> Session {
        let mut child = self.server.start_client(&self.name);
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Session { child, stdin, stdout, asked: 0 }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let force = if self.server.product == Product::Postgres { " WITH (FORCE)" } else { "" };
        // The server may be gone, with all its databases.
        let _ = self.server.try_administer(&format!("DROP DATABASE {}{force};", self.name));
    }
}

/// A client that stays connected, for transactions that others must wait for.
pub struct Session {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    asked: u32,
}

impl Session {
    /// Runs statements, waits until they are done, and returns their output lines.
    ///
    /// # Panics
    /// If the client ends, as it does when a statement fails.
    #[track_caller]
    pub fn run(&mut self, sql: &str) -> Vec<String> {
        self.asked += 1;
        let mark = format!("done {}", self.asked);
        writeln!(self.stdin, "{sql};\nSELECT '{mark}';").expect("the client is there");
        self.stdin.flush().expect("the client is there");
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).expect("UTF-8");
            assert!(read > 0, "the client ended at: {sql}");
            let line = line.trim_end();
            if line == mark {
                return lines;
            }
            lines.push(line.to_owned());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
