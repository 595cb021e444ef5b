//! The second stage: checks the plugins' options against their descriptors. Returns the job, or all
//! problems of both stages at once.

use std::{borrow::Borrow, path::Path};

use transload_plugin_api::{
    Descriptor, Dialect, Error, LoadMethod, OptionScope, OptionSpec, Options, WriteMode,
    WriterDescriptor,
};

use super::{
    ConnectionName, DraftJob, Job, JobReader, JobWriter, LoneConnection,
    connection::{Connection, DraftConnection},
    document::{Entry, Node},
    file::{DraftSide, DraftWriter},
    keys,
    places::Places,
    problem::{Findings, Location, Problem, Problems, quoted},
    secret::{SecretRefs, SourceFile, secret_ref},
    section::{Given, missing_key, unknown_key},
    sql, value,
};
use crate::{
    catalog::{Isolation, Role},
    increment::Scope,
};

/// One side of the job, resolved.
struct ResolvedSide {
    plugin: String,
    connection: Option<ConnectionName>,
    options: Options,
    secrets: SecretRefs,
    isolation: Isolation,
}

impl DraftJob {
    /// Checks the draft against the descriptors that `find` returns by plugin name. An error of
    /// `find` becomes a problem at the name, with its hint. Opens nothing.
    ///
    /// # Errors
    /// All problems of the draft and of this step, sorted by place.
    pub(crate) fn resolve<D: Borrow<Descriptor>>(
        &self,
        mut find: impl FnMut(&str) -> Result<D, Error>,
    ) -> Result<Job, Problems> {
        let mut findings =
            Findings { problems: self.problems.clone(), warnings: Problems::default() };
        let reader = self.resolve_reader(&mut find, &mut findings);
        let writer = self.resolve_writer(&mut find, &mut findings);
        let (Some(reader), Some(writer), true) = (reader, writer, findings.problems.is_empty())
        else {
            return Err(findings.problems.sorted(&self.file));
        };
        Ok(Job {
            name: self.name.clone(),
            environment: self.environment.clone(),
            reader,
            writer,
            map: self.map.clone(),
            channel: self.channel.clone(),
            dirty: self.dirty.clone(),
            require: self.require,
            tokens: self.tokens.clone(),
            checkpoint: self.checkpoint.clone(),
            incremental: self.incremental.clone(),
            scope: Scope::default(),
            places: self.places(),
            warnings: findings.warnings.sorted(&self.file).iter().cloned().collect(),
            inputs: self.inputs.clone(),
            many: self.many.clone(),
        })
    }

    /// As [`DraftJob::resolve`], for the text of a source alone.
    ///
    /// # Errors
    /// As that one.
    pub(crate) fn resolve_source<D: Borrow<Descriptor>>(
        &self,
        mut find: impl FnMut(&str) -> Result<D, Error>,
    ) -> Result<(JobReader, Places), Problems> {
        let mut findings =
            Findings { problems: self.problems.clone(), warnings: Problems::default() };
        match self.resolve_reader(&mut find, &mut findings) {
            Some(reader) if findings.problems.is_empty() => Ok((reader, self.places())),
            _ => Err(findings.problems.sorted(&self.file)),
        }
    }

    /// The places of the job's keys and of those that its connections add.
    fn places(&self) -> Places {
        let mut places = self.places.clone();
        for (role, side) in [("reader", &self.reader.side), ("writer", &self.writer.side)] {
            if let Some(connection) = &side.connection {
                places.add_connection(role, &connection.entries);
            }
        }
        places
    }

    /// The reader's part of the job; `None` if a problem was added.
    fn resolve_reader<D: Borrow<Descriptor>>(
        &self,
        find: &mut impl FnMut(&str) -> Result<D, Error>,
        findings: &mut Findings,
    ) -> Option<JobReader> {
        let draft = &self.reader;
        let descriptor = find_plugin(&draft.side, Role::Reader, find, findings)?;
        let side = self.side(&draft.side, Role::Reader, descriptor.borrow(), findings)?;
        let (schema, columns) = (draft.schema.clone(), draft.columns.clone());
        let options = Options { schema, columns, ..side.options };
        Some(JobReader {
            plugin: side.plugin,
            connection: side.connection,
            options,
            secrets: side.secrets,
            isolation: side.isolation,
            columns: draft.columns.clone(),
        })
    }

    /// The writer's part of the job; `None` if a problem was added.
    fn resolve_writer<D: Borrow<Descriptor>>(
        &self,
        find: &mut impl FnMut(&str) -> Result<D, Error>,
        findings: &mut Findings,
    ) -> Option<JobWriter> {
        let draft = &self.writer;
        let descriptor = find_plugin(&draft.side, Role::Writer, find, findings)?;
        let descriptor = descriptor.borrow();
        let side = self.side(&draft.side, Role::Writer, descriptor, findings)?;
        let plugin = draft.side.plugin.as_ref()?;
        let writer = descriptor.writer.as_ref()?;
        let write_mode = write_mode(draft, plugin, writer, &mut findings.problems);
        let load = load_method(draft, plugin, writer, &mut findings.problems);
        refuse_unsupported(draft, plugin, writer, &mut findings.problems);
        let list =
            |given: &Option<Given<Vec<String>>>| given.as_ref().map(|given| given.value.clone());
        let before = statements(draft.before.as_ref(), descriptor.dialect, findings);
        let after = statements(draft.after.as_ref(), descriptor.dialect, findings);
        Some(JobWriter {
            plugin: side.plugin,
            connection: side.connection,
            options: side.options,
            secrets: side.secrets,
            isolation: side.isolation,
            write_mode: write_mode?,
            key: draft.key.clone(),
            update_columns: list(&draft.update_columns),
            load,
            before,
            after,
            create_table: draft.create_table.as_ref().is_some_and(|create| create.value),
        })
    }

    fn side(
        &self,
        draft: &DraftSide,
        role: Role,
        descriptor: &Descriptor,
        findings: &mut Findings,
    ) -> Option<ResolvedSide> {
        side(draft, &self.file, role, descriptor, findings)
    }
}

impl DraftConnection {
    /// Checks the connection against its plugin's descriptor, which `find` returns. Opens nothing.
    ///
    /// # Errors
    /// All problems of the connection.
    pub(crate) fn resolve<D: Borrow<Descriptor>>(
        &self,
        find: impl FnOnce(&str) -> Result<D, Error>,
    ) -> Result<LoneConnection, Problems> {
        let mut findings = Findings::default();
        let draft = DraftSide {
            place: Some(Location::whole(&self.connection.file)),
            plugin: Some(self.plugin.clone()),
            connection: Some(self.connection.clone()),
            lone: true,
            folder: self.connection.folder.clone(),
            ..DraftSide::default()
        };
        let mut find = Some(find);
        let mut once = |name: &str| match find.take() {
            Some(find) => find(name),
            None => Err(Error::defect("a plugin was looked up twice")),
        };
        let resolved =
            find_plugin(&draft, Role::Reader, &mut once, &mut findings).and_then(|found| {
                let descriptor = found.borrow();
                let role = if descriptor.reader.is_some() { Role::Reader } else { Role::Writer };
                let file = &self.connection.file;
                let first = side(&draft, file, role, descriptor, &mut findings)?;
                // The same connection: its problems have been found already.
                let mut known = Findings::default();
                let writer = side(&draft, file, Role::Writer, descriptor, &mut known);
                Some((first, writer.map(|side| side.options).unwrap_or_default()))
            });
        match resolved {
            Some((
                ResolvedSide { plugin, connection: Some(connection), options, secrets, isolation },
                writer,
            )) if findings.problems.is_empty() => {
                let warnings = findings.warnings.iter().cloned().collect();
                let writer_options = writer;
                Ok(LoneConnection {
                    plugin,
                    connection,
                    options,
                    writer_options,
                    secrets,
                    isolation,
                    warnings,
                })
            }
            _ => Err(findings.problems.sorted(&self.connection.file)),
        }
    }
}

/// One side's options, each from the job, from its connection or by default.
fn side(
    draft: &DraftSide,
    job: &Path,
    role: Role,
    descriptor: &Descriptor,
    findings: &mut Findings,
) -> Option<ResolvedSide> {
    let plugin = draft.plugin.as_ref()?;
    let header = draft.place.as_ref()?;
    let Some(own) = role.options(descriptor) else {
        let message = format!("plugin `{}` has no {}", plugin.value, role.word());
        findings.problems.add(plugin.problem(message));
        return None;
    };
    let known = Known {
        role,
        own: descriptor.options.iter().chain(own).collect(),
        other: role.other().options(descriptor).unwrap_or_default(),
    };
    known.refuse_inline(draft, &mut findings.problems);
    if let Some(connection) = &draft.connection {
        known.refuse_in_connection(connection, draft, &mut findings.problems);
    }
    let theirs = draft.connection.as_ref().map(|connection| connection.isolation);
    let mut side = ResolvedSide {
        plugin: plugin.value.clone(),
        connection: draft.connection.as_ref().map(|connection| ConnectionName {
            name: connection.name.clone(),
            environment: connection.environment.clone(),
        }),
        options: Options::default(),
        secrets: SecretRefs::new(),
        isolation: theirs.map_or(draft.isolation, |theirs| theirs.max(draft.isolation)),
    };
    for spec in &known.own {
        match source(spec, draft, job) {
            Some((entry, origin)) => {
                side.take((spec, descriptor.dialect), entry, &origin, findings);
            }
            None => side.fill_in(spec, draft, role, header, &mut findings.problems),
        }
    }
    Some(side)
}

/// The statements of `before` or `after`, with the values of parameters.
fn statements(
    given: Option<&Given<Entry>>,
    dialect: Dialect,
    findings: &mut Findings,
) -> Vec<String> {
    let Some(given) = given else { return Vec::new() };
    let filled = sql::filled(&given.value, dialect, findings);
    let list = filled.and_then(|entry| value::list(&entry));
    list.map_err(|problem| findings.problems.add(problem)).unwrap_or_default()
}

/// The descriptor of a side's plugin; `None` if a problem was added.
fn find_plugin<D: Borrow<Descriptor>>(
    draft: &DraftSide,
    role: Role,
    find: &mut impl FnMut(&str) -> Result<D, Error>,
    findings: &mut Findings,
) -> Option<D> {
    let place = draft.place.as_ref()?; // the first stage has reported a missing section
    let Some(plugin) = &draft.plugin else {
        if !draft.unclear {
            let title = format!("[{}]", role.word());
            findings.problems.add(missing_key("plugin", &title, place));
        }
        return None;
    };
    match find(&plugin.value) {
        Ok(descriptor) => Some(descriptor),
        Err(error) => {
            findings.problems.add(plugin.problem(error.to_string()).because_of(error));
            None
        }
    }
}

/// The options of one side, to refuse all other keys.
struct Known<'d> {
    role: Role,
    own: Vec<&'d OptionSpec>,
    /// The options of the plugin's other role.
    other: &'d [OptionSpec],
}

impl Known<'_> {
    fn own(&self, key: &str) -> Option<&OptionSpec> {
        self.own.iter().find(|spec| spec.key == key).copied()
    }

    fn other(&self, key: &str) -> Option<&OptionSpec> {
        self.other.iter().find(|spec| spec.key == key)
    }

    /// Reports keys of the job's section that are neither the host's nor the plugin's.
    fn refuse_inline(&self, draft: &DraftSide, problems: &mut Problems) {
        let title = format!("[{}]", self.role.word());
        for entry in draft.entries.iter().filter(|entry| self.own(&entry.key).is_none()) {
            let own = self.own.iter().map(|spec| spec.key.as_str());
            let problem = unknown_key(entry, &title, own.chain(keys::names(draft.host_keys)));
            let other = self.role.other().word();
            problems.add(match self.other(&entry.key) {
                Some(_) => problem.hint(format!("it is an option of the plugin's {other}")),
                None => problem,
            });
        }
    }

    /// Reports keys of the connection that are unknown, belong in the job, or are set in both.
    fn refuse_in_connection(
        &self,
        connection: &Connection,
        draft: &DraftSide,
        problems: &mut Problems,
    ) {
        for entry in &connection.entries {
            match self.own(&entry.key).or_else(|| self.other(&entry.key)) {
                Some(spec) if spec.scope == OptionScope::Connection => {
                    refuse_double(connection, draft, &entry.key, problems);
                }
                Some(_) => {
                    let message = format!("`{}` does not belong in a connection", entry.key);
                    let hint = format!("move it into [{}] of the job", self.role.word());
                    problems.add(Problem::new(&entry.place, &entry.path, message).hint(hint));
                }
                None => {
                    let specs = self.own.iter().copied().chain(self.other);
                    let known = specs
                        .filter(|spec| spec.scope == OptionScope::Connection)
                        .map(|spec| spec.key.as_str())
                        .chain(["plugin", "isolation"]);
                    problems.add(unknown_key(entry, &connection.title, known));
                }
            }
        }
    }
}

/// Reports an option that is set in the job and in its connection.
fn refuse_double(connection: &Connection, draft: &DraftSide, key: &str, problems: &mut Problems) {
    if let Some(inline) = draft.entries.iter().find(|inline| inline.key == key) {
        let message = format!("`{key}` is set here and in connection `{}`", connection.name);
        let hint = "keep one of the two";
        problems.add(Problem::new(&inline.place, &inline.path, message).hint(hint));
    }
}

/// The entry of an option's value: in the job, else in the connection.
fn source<'a>(
    spec: &OptionSpec,
    draft: &'a DraftSide,
    job: &'a std::path::Path,
) -> Option<(&'a Entry, SourceFile<'a>)> {
    let named = |entries: &'a [Entry]| entries.iter().find(|entry| entry.key == spec.key);
    if let Some(entry) = named(&draft.entries) {
        return Some((entry, SourceFile { folder: &draft.folder, file: job }));
    }
    let connection = draft.connection.as_ref().filter(|_| spec.scope == OptionScope::Connection)?;
    let entry = named(&connection.entries)?;
    Some((entry, SourceFile { folder: &connection.folder, file: &connection.file }))
}

impl ResolvedSide {
    /// Takes an option's value from its entry; a secret option becomes a reference.
    fn take(
        &mut self,
        (spec, dialect): (&OptionSpec, Dialect),
        entry: &Entry,
        origin: &SourceFile<'_>,
        findings: &mut Findings,
    ) {
        if entry.node.is_broken() {
            return;
        }
        if spec.secret {
            if let Some(reference) = secret_ref(entry, origin, findings) {
                self.secrets.insert(spec.key.clone(), reference);
            }
            return;
        }
        let entry =
            if spec.sql { sql::filled(entry, dialect, findings) } else { Ok(entry.clone()) };
        let value = entry.and_then(|entry| value::option(&spec.kind, &entry, origin.folder));
        match value {
            Ok(value) => {
                self.options.values.insert(spec.key.clone(), value);
            }
            Err(problem) => findings.problems.add(problem),
        }
    }

    /// Fills in the default of an option that the job does not set.
    fn fill_in(
        &mut self,
        spec: &OptionSpec,
        draft: &DraftSide,
        role: Role,
        header: &Location,
        problems: &mut Problems,
    ) {
        let title = format!("[{}]", role.word());
        if let Some(default) = &spec.default {
            let entry = Entry {
                key: spec.key.clone(),
                path: format!("{}.{}", role.word(), spec.key),
                place: header.clone(),
                node: Node::from_json(default, header),
            };
            match value::option(&spec.kind, &entry, &draft.folder) {
                Ok(value) => {
                    self.options.values.insert(spec.key.clone(), value);
                }
                Err(problem) => problems.add(problem.hint(format!(
                    "plugin `{}` declares this default, which is a defect in the plugin",
                    self.plugin
                ))),
            }
        } else if spec.required && !draft.may_lack(spec.scope) {
            problems.add(missing_key(&spec.key, &title, header).hint(&spec.doc));
        }
    }
}

/// The mode that the job names; default: the writer's first.
fn write_mode(
    draft: &DraftWriter,
    plugin: &Given<String>,
    writer: &WriterDescriptor,
    problems: &mut Problems,
) -> Option<WriteMode> {
    let Some(first) = writer.modes.first() else {
        problems.add(plugin.problem(format!("plugin `{}` declares no write mode", plugin.value)));
        return None;
    };
    let mode = match &draft.write_mode {
        None => first.mode,
        Some(given) => {
            let wanted = given.value.0;
            if !writer.modes.iter().any(|spec| spec.mode == wanted) {
                let message =
                    format!("plugin `{}` has no write mode `{}`", plugin.value, wanted.word());
                let modes = quoted(writer.modes.iter().map(|spec| spec.mode.word()));
                problems.add(given.problem(message).hint(format!("it has {modes}")));
                return None;
            }
            wanted
        }
    };
    if let Some(columns) = &draft.update_columns
        && mode != WriteMode::Upsert
    {
        let message =
            format!("`update_columns` needs write mode `upsert`, the mode is `{}`", mode.word());
        problems
            .add(columns.problem(message).hint("set `write_mode = \"upsert\"`, or leave it out"));
    }
    Some(mode)
}

/// How rows are loaded: by the write mode's name, else by `load`.
fn load_method(
    draft: &DraftWriter,
    plugin: &Given<String>,
    writer: &WriterDescriptor,
    problems: &mut Problems,
) -> LoadMethod {
    let by_mode = draft.write_mode.as_ref().and_then(|mode| {
        let load = mode.value.1?;
        Some(Given { value: load, place: mode.place.clone(), path: mode.path.clone() })
    });
    let Some(load) = by_mode.as_ref().or(draft.load.as_ref()) else {
        return LoadMethod::default();
    };
    if load.value != LoadMethod::Auto && !writer.loads.contains(&load.value) {
        let message = format!("plugin `{}` cannot load by `{}`", plugin.value, load.value.word());
        let loads = std::iter::once("auto").chain(writer.loads.iter().map(|load| load.word()));
        problems.add(load.problem(message).hint(format!("it has {}", quoted(loads))));
    }
    load.value
}

/// Reports keys that this writer does not support.
fn refuse_unsupported(
    draft: &DraftWriter,
    plugin: &Given<String>,
    writer: &WriterDescriptor,
    problems: &mut Problems,
) {
    for (key, statements) in [("before", &draft.before), ("after", &draft.after)] {
        if let Some(given) = statements
            && value::list(&given.value).is_ok_and(|statements| !statements.is_empty())
            && !writer.runs_statements
        {
            let message = format!(
                "plugin `{}` runs no statements, so `{key}` is not supported",
                plugin.value
            );
            problems.add(given.problem(message).hint("leave it out"));
        }
    }
    if let Some(create) = &draft.create_table
        && create.value
        && !writer.creates_table
    {
        let message = format!("plugin `{}` cannot create tables", plugin.value);
        problems.add(create.problem(message).hint("create the table first and leave this key out"));
    }
}
