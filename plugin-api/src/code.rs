//! The stable error codes of the host and of the plugins in this repository: one table, from which
//! the reference is made. A code never changes its meaning. Errors of a database keep the
//! database's own number behind a prefix, see [`PREFIXES`]. Plugins from elsewhere choose codes
//! with a prefix of their own.

/// Makes a constant of each code and [`ALL`] of them together.
macro_rules! codes {
    ($(#[doc = $meaning:literal] $name:ident = $code:literal;)+) => {
        $(#[doc = $meaning] pub const $name: &str = $code;)+

        /// Every code with its meaning, sorted by code.
        pub const ALL: &[(&str, &str)] = &[$(($code, $meaning)),+];
    };
}

codes! {
    /// No ADBC driver of that name or path was found.
    ADBC_DRIVER = "ADBC-DRIVER";
    /// The library of an ADBC driver cannot be loaded, or is none.
    ADBC_LOAD = "ADBC-LOAD";
    /// The manifest of an ADBC driver cannot be used.
    ADBC_MANIFEST = "ADBC-MANIFEST";
    /// An ADBC driver reports a failure.
    ADBC_STATUS = "ADBC-STATUS";
    /// An ADBC driver did not connect in time.
    ADBC_TIMEOUT = "ADBC-TIMEOUT";
    /// A value of an ADBC driver cannot be read in the type of its column.
    ADBC_VALUE = "ADBC-VALUE";
    /// The name of a file does not show its format, or no plugin has the extension.
    COPY_EXTENSION = "COPY-EXTENSION";
    /// FROM or TO is empty, or belongs to several plugins or to none.
    COPY_NAME = "COPY-NAME";
    /// FROM or TO names a store and not what is read or written there.
    COPY_OBJECT = "COPY-OBJECT";
    /// An option in FROM, TO or a flag is unknown to the plugin, or given twice.
    COPY_OPTION = "COPY-OPTION";
    /// No plugin has the URL scheme, and no connection has the name.
    COPY_SCHEME = "COPY-SCHEME";
    /// FROM and TO are both standard streams, and no flag names a format.
    COPY_STREAM = "COPY-STREAM";
    /// A URL is not of the form that its plugin declares.
    COPY_URL = "COPY-URL";
    /// A CSV record has more cells than the limit of 10,000.
    CSV_COLUMNS = "CSV-COLUMNS";
    /// The delimiter of a CSV file is wrong, or not certain.
    CSV_DELIMITER = "CSV-DELIMITER";
    /// The header of a CSV file cannot be read.
    CSV_HEADER = "CSV-HEADER";
    /// A CSV quote is not closed, or a value cannot be written without one.
    CSV_QUOTE = "CSV-QUOTE";
    /// A CSV record has more or fewer cells than the header, and `ragged = "error"`.
    CSV_RAGGED = "CSV-RAGGED";
    /// A CSV record is larger than the limit.
    CSV_RECORD = "CSV-RECORD";
    /// The job or its target has changed since the run whose dirty rows are sent again.
    DIRTY_CHANGED = "DIRTY-CHANGED";
    /// Some dirty rows cannot be exported.
    DIRTY_EXPORT = "DIRTY-EXPORT";
    /// The file of dirty rows cannot be written.
    DIRTY_FILE = "DIRTY-FILE";
    /// A record of repaired rows has no id, or not one of the run.
    DIRTY_ID = "DIRTY-ID";
    /// More rows are dirty than the job allows.
    DIRTY_LIMIT = "DIRTY-LIMIT";
    /// Dirty rows were sent again before, or may have been.
    DIRTY_REPLAYED = "DIRTY-REPLAYED";
    /// The run whose dirty rows are to be sent again did not succeed.
    DIRTY_UNDONE = "DIRTY-UNDONE";
    /// The staged files of a run are no longer there.
    FILE_ABANDONED = "FILE-ABANDONED";
    /// A file or object changed while a run relied on it.
    FILE_CHANGED = "FILE-CHANGED";
    /// A compressed file is damaged or cut off.
    FILE_COMPRESSION = "FILE-COMPRESSION";
    /// The target exists already.
    FILE_EXISTS = "FILE-EXISTS";
    /// The files of one source differ in their columns.
    FILE_HEADER = "FILE-HEADER";
    /// A link leads out of the job's folder, or to something that would be staged or removed.
    FILE_LINK = "FILE-LINK";
    /// Partition folders differ from each other or from the options.
    FILE_PARTITION = "FILE-PARTITION";
    /// A file ended before the length it had when the job was planned.
    FILE_SHORT = "FILE-SHORT";
    /// Another process runs the flow for the same scheduled time.
    FLOW_ACTIVE = "FLOW-ACTIVE";
    /// Jobs of a flow have failed.
    FLOW_FAILED = "FLOW-FAILED";
    /// A flow file cannot be read, or has mistakes.
    FLOW_FILE = "FLOW-FILE";
    /// The instance before, or a job of it, is not done.
    FLOW_PREVIOUS = "FLOW-PREVIOUS";
    /// A condition of a job was not met in time.
    FLOW_READY = "FLOW-READY";
    /// What is kept of a flow cannot be read or written.
    FLOW_STATE = "FLOW-STATE";
    /// The compression or archive format is not supported.
    FORMAT_COMPRESSION = "FORMAT-COMPRESSION";
    /// A text file is not in the encoding that the job gives.
    FORMAT_ENCODING = "FORMAT-ENCODING";
    /// A job of an import would replace a file.
    IMPORT_EXISTS = "IMPORT-EXISTS";
    /// There is no plugin for a store of an imported document.
    IMPORT_PLUGIN = "IMPORT-PLUGIN";
    /// A file cannot be read as a document of the tool that it is imported from.
    IMPORT_SYNTAX = "IMPORT-SYNTAX";
    /// A key of an imported document has no equal in a job.
    IMPORT_VALUE = "IMPORT-VALUE";
    /// A column of an incremental job has values that do not grow.
    INCREMENT_COLUMN = "INCREMENT-COLUMN";
    /// A write mode would add or remove rows of other increments.
    INCREMENT_MODE = "INCREMENT-MODE";
    /// Rows have no value in the column of an incremental job.
    INCREMENT_NULL = "INCREMENT-NULL";
    /// The plugin reads no increments.
    INCREMENT_READER = "INCREMENT-READER";
    /// A value of an incremental job is none of its column.
    INCREMENT_VALUE = "INCREMENT-VALUE";
    /// A line of a run's journal is damaged or missing.
    JOURNAL_DAMAGED = "JOURNAL-DAMAGED";
    /// A run's journal is of another version of the program.
    JOURNAL_FORM = "JOURNAL-FORM";
    /// A run has no journal, or it cannot be read.
    JOURNAL_MISSING = "JOURNAL-MISSING";
    /// A JSON key cannot be the name of a column.
    JSON_KEY = "JSON-KEY";
    /// A JSON record is longer than the limit.
    JSON_LENGTH = "JSON-LENGTH";
    /// A JSON file breaks the syntax of JSON.
    JSON_SYNTAX = "JSON-SYNTAX";
    /// MySQL did not take every row of a bulk load unchanged; the chunk is written again row by row.
    MYSQL_BULK = "MYSQL-BULK";
    /// The connection to a MySQL or MariaDB server was lost.
    MYSQL_LOST = "MYSQL-LOST";
    /// A MySQL server without TLS asks for the password, and no public key of it is known or usable.
    MYSQL_PUBLIC_KEY = "MYSQL-PUBLIC-KEY";
    /// A MySQL or MariaDB server does not offer TLS, or TLS failed.
    MYSQL_TLS = "MYSQL-TLS";
    /// The store's HTTP response is not what was asked for.
    OBJECT_ANSWER = "OBJECT-ANSWER";
    /// The endpoint is an address that the plugin does not connect to.
    OBJECT_ENDPOINT = "OBJECT-ENDPOINT";
    /// The object store refused the credentials.
    OBJECT_LOGIN = "OBJECT-LOGIN";
    /// The bucket or container does not exist.
    OBJECT_NO_BUCKET = "OBJECT-NO-BUCKET";
    /// No connection to the object store could be made.
    OBJECT_NO_CONNECTION = "OBJECT-NO-CONNECTION";
    /// The object store's host name cannot be resolved.
    OBJECT_NO_NAME = "OBJECT-NO-NAME";
    /// TLS with the object store failed.
    OBJECT_NO_TLS = "OBJECT-NO-TLS";
    /// A Parquet column cannot be read, and the job does not leave it out.
    PARQUET_COLUMN = "PARQUET-COLUMN";
    /// The compression inside a Parquet file is not supported.
    PARQUET_COMPRESSION = "PARQUET-COMPRESSION";
    /// A Parquet file is damaged.
    PARQUET_DAMAGED = "PARQUET-DAMAGED";
    /// A Parquet file is encrypted.
    PARQUET_ENCRYPTED = "PARQUET-ENCRYPTED";
    /// A page, a value or a row group of a Parquet file is larger than the limit.
    PARQUET_LIMIT = "PARQUET-LIMIT";
    /// The connection to a PostgreSQL server was not established.
    PG_NOT_OPEN = "PG-NOT-OPEN";
    /// A connection pooler in transaction mode is in front of a PostgreSQL server.
    PG_POOLER = "PG-POOLER";
    /// A column does not exist, or is named twice.
    PLAN_COLUMN = "PLAN-COLUMN";
    /// No column is left to move.
    PLAN_EMPTY = "PLAN-EMPTY";
    /// The target generates a column that the job would fill.
    PLAN_GENERATED = "PLAN-GENERATED";
    /// The plan cannot reach the guarantee that the job requires.
    PLAN_GUARANTEE = "PLAN-GUARANTEE";
    /// The write mode needs a key that the target or the job does not have.
    PLAN_KEY = "PLAN-KEY";
    /// The tables of a job of many tables do not fit its file, or each other.
    PLAN_TABLES = "PLAN-TABLES";
    /// No value of a column's type can become the target's type.
    PLAN_TYPE = "PLAN-TYPE";
    /// The target needs a value in a column that no source column fills.
    PLAN_UNFILLED = "PLAN-UNFILLED";
    /// The plugin was built for another version of the ABI.
    PLUGIN_ABI = "PLUGIN-ABI";
    /// The plugin was built with `panic = "abort"`.
    PLUGIN_ABORTS = "PLUGIN-ABORTS";
    /// Other users can change the plugin's library, its folder or its manifest.
    PLUGIN_ACCESS = "PLUGIN-ACCESS";
    /// The plugin returned a batch that breaks the contract.
    PLUGIN_BATCH = "PLUGIN-BATCH";
    /// The plugin returned something that its contract forbids.
    PLUGIN_CONTRACT = "PLUGIN-CONTRACT";
    /// A plugin's code crashed, and ended the process.
    PLUGIN_CRASH = "PLUGIN-CRASH";
    /// The plugin's library is damaged.
    PLUGIN_DAMAGED = "PLUGIN-DAMAGED";
    /// The plugin's descriptor contradicts itself.
    PLUGIN_DESCRIPTOR = "PLUGIN-DESCRIPTOR";
    /// A plugin ended the process.
    PLUGIN_EXIT = "PLUGIN-EXIT";
    /// The plugin's library cannot be read.
    PLUGIN_FILE = "PLUGIN-FILE";
    /// A plugin folder cannot be read.
    PLUGIN_FOLDER = "PLUGIN-FOLDER";
    /// The library's hash differs from the manifest.
    PLUGIN_HASH = "PLUGIN-HASH";
    /// The library was built with another interface library.
    PLUGIN_HEADER = "PLUGIN-HEADER";
    /// The plugin needs a newer version of the program.
    PLUGIN_HOST = "PLUGIN-HOST";
    /// A plugin cannot be packed or installed.
    PLUGIN_INSTALL = "PLUGIN-INSTALL";
    /// The library's interface has another layout.
    PLUGIN_LAYOUT = "PLUGIN-LAYOUT";
    /// The library has a run path, text relocations or an executable stack.
    PLUGIN_LINKED = "PLUGIN-LINKED";
    /// The system could not load the library.
    PLUGIN_LOAD = "PLUGIN-LOAD";
    /// Another version of the plugin was accepted.
    PLUGIN_LOCK = "PLUGIN-LOCK";
    /// The manifest cannot be read, or contradicts the library.
    PLUGIN_MANIFEST = "PLUGIN-MANIFEST";
    /// A plugin's process reached the limit of its memory.
    PLUGIN_MEMORY = "PLUGIN-MEMORY";
    /// A library that the manifest lists is missing.
    PLUGIN_MISSING = "PLUGIN-MISSING";
    /// The library needs other libraries than its manifest lists.
    PLUGIN_NEEDED = "PLUGIN-NEEDED";
    /// The file is not a plugin.
    PLUGIN_NOT_ONE = "PLUGIN-NOT-ONE";
    /// The plugin is older than the function that was called.
    PLUGIN_OLD = "PLUGIN-OLD";
    /// The plugin panicked.
    PLUGIN_PANIC = "PLUGIN-PANIC";
    /// The plugin has no library for this machine.
    PLUGIN_PLATFORM = "PLUGIN-PLATFORM";
    /// The child process that loads the library first failed.
    PLUGIN_PROBE = "PLUGIN-PROBE";
    /// A message or call across the ABI breaks the contract.
    PLUGIN_PROTOCOL = "PLUGIN-PROTOCOL";
    /// The plugin is signed with a key that is not trusted.
    PLUGIN_PUBLISHER = "PLUGIN-PUBLISHER";
    /// The plugin was revoked.
    PLUGIN_REVOKED = "PLUGIN-REVOKED";
    /// The plugin has no reader, or no writer.
    PLUGIN_ROLE = "PLUGIN-ROLE";
    /// A plugin's process cannot be enclosed, or asks for more than it may have.
    PLUGIN_SANDBOX = "PLUGIN-SANDBOX";
    /// The plugin's signature is not valid.
    PLUGIN_SIGNATURE = "PLUGIN-SIGNATURE";
    /// A plugin in a process of its own did not return.
    PLUGIN_STALL = "PLUGIN-STALL";
    /// The library's root module did not start.
    PLUGIN_START = "PLUGIN-START";
    /// `trust.toml` or `plugins.lock` cannot be read.
    PLUGIN_TRUST = "PLUGIN-TRUST";
    /// No plugin has this name.
    PLUGIN_UNKNOWN = "PLUGIN-UNKNOWN";
    /// The plugin is neither signed nor pinned.
    PLUGIN_UNSIGNED = "PLUGIN-UNSIGNED";
    /// The process of a plugin does not start, or breaks the protocol.
    PLUGIN_WORKER = "PLUGIN-WORKER";
    /// A run that was given up is not continued.
    RESUME_ABORTED = "RESUME-ABORTED";
    /// A run that keeps no commit tokens may write rows a second time if it is continued.
    RESUME_DUPLICATES = "RESUME-DUPLICATES";
    /// The job, or a connection, has changed since the run began.
    RESUME_JOB = "RESUME-JOB";
    /// A plugin has changed since the run began.
    RESUME_PLUGIN = "RESUME-PLUGIN";
    /// The source has changed since the run began.
    RESUME_SOURCE = "RESUME-SOURCE";
    /// A task cannot continue where an earlier process has stopped.
    RESUME_SPLIT = "RESUME-SPLIT";
    /// The target has changed since the run began.
    RESUME_TARGET = "RESUME-TARGET";
    /// Another run holds the target, or another process works on the run.
    RUN_ACTIVE = "RUN-ACTIVE";
    /// Every row is in the target, but a step behind the last row failed.
    RUN_AFTER = "RUN-AFTER";
    /// The rows written do not add up to the rows read.
    RUN_BALANCE = "RUN-BALANCE";
    /// An earlier attempt of a task keeps the task's token, and its session does not end.
    RUN_CLAIM = "RUN-CLAIM";
    /// It is unknown whether a commit took effect.
    RUN_COMMIT_UNKNOWN = "RUN-COMMIT-UNKNOWN";
    /// A newer attempt owns the task.
    RUN_FENCED = "RUN-FENCED";
    /// The run's folder cannot be written.
    RUN_FOLDER = "RUN-FOLDER";
    /// The server has lost rows whose commit it had confirmed.
    RUN_LOST = "RUN-LOST";
    /// There is no run of this name, or it has ended.
    RUN_MISSING = "RUN-MISSING";
    /// A thread of the host panicked.
    RUN_PANIC = "RUN-PANIC";
    /// A stage does not hold the rows that were committed to it; nothing was published.
    RUN_STAGE = "RUN-STAGE";
    /// A stop by a signal took longer than `--stop-timeout`.
    RUN_STOP = "RUN-STOP";
    /// Some of the tables of a job of many tables are not done.
    RUN_TABLES = "RUN-TABLES";
    /// The target has changed between the plan and the first row.
    RUN_TARGET = "RUN-TARGET";
    /// A commit token says something else than this run has written.
    RUN_TOKEN = "RUN-TOKEN";
    /// A table that the job names does not exist, or the login may not see it.
    TABLE_MISSING = "TABLE-MISSING";
    /// The tables for commit tokens do not exist, and the job may not create them.
    TOKENS_MISSING = "TOKENS-MISSING";
    /// A table has the name of one for commit tokens, and cannot hold them.
    TOKENS_UNFIT = "TOKENS-UNFIT";
    /// The watermark of a job is of another column, type or target, or cannot be read.
    WATERMARK_UNFIT = "WATERMARK-UNFIT";
}

/// Prefixes that a database's own code follows, with what follows them.
pub const PREFIXES: &[(&str, &str)] = &[
    ("ADBC-", "the SQLSTATE that an ADBC driver reports, such as `ADBC-23505`"),
    ("MYSQL-", "the server's error number, such as `MYSQL-1213`"),
    ("PG-", "the server's SQLSTATE, such as `PG-23505`"),
];
