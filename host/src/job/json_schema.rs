//! JSON Schema (draft 7) of job files and connection files, for editors: the host's own keys from
//! `keys`, the options of every plugin from its descriptor. It says what `check` says of a single
//! key or section; what depends on several files is left to `check`.

use serde_json::{Map, Value as Json, json};
use transload_plugin_api::{
    Descriptor, LoadMethod, LogicalType, OptionKind, OptionScope, OptionSpec, WriteMode,
    WriterDescriptor,
};

use super::{
    file::{GUARANTEES, LOADS, WRITE_MODES},
    incremental::ON_NULL,
    keys::{self, Key, Kind, MAX_NAME, MAX_PREFIX},
};
use crate::catalog::Isolation;
use crate::catalog::Role;

/// The schema of job files with these plugins.
pub(crate) fn of_jobs(plugins: &[Descriptor]) -> Json {
    let mut definitions = definitions();
    for role in [Role::Reader, Role::Writer] {
        for plugin in plugins {
            if let Some(own) = role.options(plugin) {
                let own: Vec<_> = plugin.options.iter().chain(own).collect();
                definitions.insert(name_of(role, plugin), side_of(role, plugin, &own));
            }
        }
    }
    let mut schema = section(keys::TOP, plugins, Role::Reader);
    schema["required"] = json!(["reader", "writer"]);
    whole("A job of Transload", schema, definitions)
}

/// The schema of connection files with these plugins.
pub(crate) fn of_connections(plugins: &[Descriptor]) -> Json {
    let mut definitions = definitions();
    for plugin in plugins {
        definitions.insert(plugin.name.clone(), connection_of(plugin));
    }
    let names: Vec<_> = plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    let plugin = json!({ "plugin": { "enum": names } });
    let with_plugin = json!({ "required": ["plugin"], "properties": plugin });
    let single = json!({ "allOf": [with_plugin, by_plugin(plugins)] });
    // The plugin is named in each environment, or once above them.
    let named = plugins.iter().map(|own| {
        json!({
            "required": ["plugin"],
            "properties": { "plugin": { "const": own.name }, "isolation": value(Kind::Isolation) },
            "additionalProperties": { "$ref": format!("#/definitions/{}", own.name) },
        })
    });
    let each = json!({
        "properties": { "plugin": false, "isolation": value(Kind::Isolation) },
        "additionalProperties": single,
        "minProperties": 1,
    });
    let choices: Vec<_> = [single.clone(), each].into_iter().chain(named).collect();
    let connection = json!({ "type": "object", "anyOf": choices });
    let schema = json!({ "type": "object", "additionalProperties": connection });
    whole("Connections of Transload", schema, definitions)
}

/// A schema with its head.
fn whole(title: &str, mut schema: Json, definitions: Map<String, Json>) -> Json {
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!(title);
    schema["definitions"] = Json::Object(definitions);
    schema
}

/// What is referred to from many places.
fn definitions() -> Map<String, Json> {
    let text = json!({ "type": "string" });
    let secret = json!({
        "description": "A reference to a secret; a value that is written here leads to a warning",
        "anyOf": [
            text,
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": false,
                "properties": {
                    "env": { "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
                    "file": OptionKind::Path.json_schema(),
                    "command": { "type": "array", "items": text, "minItems": 1 },
                },
            },
        ],
    });
    // A text that `check` judges when its parameters are filled in.
    let parameter = json!({ "type": "string", "pattern": r"\$(\{|\[|[a-z])" });
    Map::from_iter([("secret".to_owned(), secret), ("parameter".to_owned(), parameter)])
}

fn name_of(role: Role, plugin: &Descriptor) -> String {
    format!("{role}-{}", plugin.name)
}

/// A section of the host's keys; of `[reader]` and `[writer]`, with the options of all plugins.
fn section(keys: &'static [Key], plugins: &[Descriptor], role: Role) -> Json {
    let properties: Map<String, Json> =
        keys.iter().map(|key| (key.name.to_owned(), property(key, plugins, role))).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn property(key: &Key, plugins: &[Descriptor], role: Role) -> Json {
    let mut schema = match key.kind {
        Kind::Section(_) if key.name == "reader" => side(Role::Reader, plugins),
        Kind::Section(_) if key.name == "writer" => side(Role::Writer, plugins),
        Kind::Section(keys) => section(keys, plugins, role),
        Kind::Plugin => {
            let with_role = plugins.iter().filter(|plugin| role.options(plugin).is_some());
            let names: Vec<_> = with_role.map(|plugin| plugin.name.as_str()).collect();
            filled(json!({ "enum": names }))
        }
        kind => value(kind),
    };
    schema["description"] = json!(key.doc);
    schema
}

/// The values of a key of the host.
fn value(kind: Kind) -> Json {
    let words = |words: Vec<&str>| filled(json!({ "enum": words }));
    match kind {
        Kind::Section(_) | Kind::Plugin | Kind::Text => OptionKind::Text.json_schema(),
        Kind::JobName => filled(json!({
            "type": "string",
            "maxLength": MAX_NAME,
            // No ASCII but letters, digits, `-`, `_` and, not in front, `.`.
            "pattern": r"^[^\x00-,./:-@\[-\^`{-\x7f][^\x00-,/:-@\[-\^`{-\x7f]*$",
        })),
        Kind::Boolean => OptionKind::Boolean.json_schema(),
        Kind::Integer { min, max } => OptionKind::Integer { min, max }.json_schema(),
        Kind::Ratio => OptionKind::Float { min: 0.0, max: 1.0 }.json_schema(),
        Kind::Size { min } => {
            let mut size = OptionKind::Size.json_schema();
            size["minimum"] = json!(min);
            filled(size)
        }
        Kind::Duration { min } => {
            let mut time = OptionKind::Duration.json_schema();
            time["minimum"] = json!(min);
            filled(time)
        }
        Kind::Rows => json!({
            "anyOf": [{ "type": "integer", "minimum": 0 }, { "enum": ["unlimited"] }],
        }),
        Kind::Names => {
            let name = json!({ "type": "string", "minLength": 1 });
            let list =
                json!({ "type": "array", "items": name, "minItems": 1, "uniqueItems": true });
            json!({ "anyOf": [name, list] })
        }
        Kind::Statements => OptionKind::List.json_schema(),
        Kind::Map => OptionKind::Map.json_schema(),
        Kind::Types => json!({ "type": "object", "additionalProperties": types() }),
        Kind::Parameters => {
            json!({ "type": "object", "additionalProperties": { "type": ["string", "integer"] } })
        }
        Kind::Tables => json!({
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {
                    "reader": { "type": "object" },
                    "writer": { "type": "object" },
                    "map": OptionKind::Map.json_schema(),
                    "dirty": { "type": "object" },
                },
                "additionalProperties": false,
            },
        }),
        Kind::OnTableFailure => words(vec!["stop", "continue"]),
        Kind::WriteMode => modes(|_, _| true),
        Kind::Isolation => words(vec![Isolation::InProcess.word(), Isolation::Process.word()]),
        Kind::Load => words(LOADS.iter().map(|load| load.word()).collect()),
        Kind::TablePrefix => filled(json!({
            "type": "string",
            "maxLength": MAX_PREFIX,
            "pattern": r"^[A-Za-z_][A-Za-z0-9_]*$",
        })),
        Kind::Value => json!({ "type": ["string", "integer"] }),
        Kind::Lookback => json!({
            "anyOf": [OptionKind::Duration.json_schema(), { "type": "integer", "minimum": 0 }]
        }),
        Kind::OnNull => words(ON_NULL.to_vec()),
        Kind::Guarantee => words(GUARANTEES.iter().map(|level| level.word()).collect()),
    }
}

/// A value, or a text with a parameter.
fn filled(schema: Json) -> Json {
    json!({ "anyOf": [schema, { "$ref": "#/definitions/parameter" }] })
}

/// The names of types, in any case.
fn types() -> Json {
    let sized = LogicalType::sized_names();
    let sized = sized.map(|(name, of)| format!(r"{}\({of}\)", any_case(name)));
    let names = LogicalType::plain_names().map(any_case).chain(sized);
    let names = names.collect::<Vec<_>>().join("|");
    let plain: Vec<_> = LogicalType::plain_names().collect();
    let pattern = format!(r"^\s*({}\s*)*({names})\s*(>\s*)*$", any_case("list<"));
    filled(json!({ "anyOf": [{ "enum": plain }, { "type": "string", "pattern": pattern }] }))
}

/// The names of the write modes that fit, in any case.
fn modes(fits: impl Fn(WriteMode, Option<LoadMethod>) -> bool) -> Json {
    let fitting = WRITE_MODES.iter().filter(|(_, mode, load)| fits(*mode, *load));
    let names: Vec<_> = fitting.map(|(name, ..)| *name).collect();
    let any: Vec<_> = names.iter().map(|name| any_case(name).replace(' ', r"\s+")).collect();
    let pattern = format!(r"^\s*({})\s*$", any.join("|"));
    filled(json!({ "anyOf": [{ "enum": names }, { "type": "string", "pattern": pattern }] }))
}

/// A pattern of a word in any case; patterns have no such flag in JSON Schema.
fn any_case(word: &str) -> String {
    let either = |c: char| match c {
        'a'..='z' => format!("[{c}{}]", c.to_ascii_uppercase()),
        _ => c.to_string(),
    };
    word.chars().map(either).collect()
}

/// `[reader]` or `[writer]`: the keys of all plugins, then the rules of the plugin that is named.
fn side(role: Role, plugins: &[Descriptor]) -> Json {
    let mut properties = Map::new();
    let with_role = || plugins.iter().filter(|plugin| role.options(plugin).is_some());
    for plugin in with_role() {
        let own = role.options(plugin).unwrap_or_default();
        for spec in plugin.options.iter().chain(own) {
            let schema = option(spec, true);
            match properties.get(&spec.key) {
                None => drop(properties.insert(spec.key.clone(), schema)),
                Some(known) if *known == schema => {}
                // Each plugin's own rule says more.
                Some(_) => drop(properties.insert(spec.key.clone(), json!({}))),
            }
        }
    }
    let host = if role == Role::Reader { keys::READER } else { keys::WRITER };
    for key in host {
        properties.insert(key.name.to_owned(), property(key, plugins, role));
    }
    let rules: Vec<Json> = with_role()
        .map(|plugin| {
            json!({
                "if": named(&plugin.name),
                "then": { "$ref": format!("#/definitions/{}", name_of(role, plugin)) },
            })
        })
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "anyOf": [{ "required": ["plugin"] }, { "required": ["connection"] }],
        "allOf": rules,
    })
}

fn named(plugin: &str) -> Json {
    json!({ "required": ["plugin"], "properties": { "plugin": { "const": plugin } } })
}

/// The rules of one plugin in `[reader]` or `[writer]`.
fn side_of(role: Role, plugin: &Descriptor, own: &[&OptionSpec]) -> Json {
    let host = if role == Role::Reader { keys::READER } else { keys::WRITER };
    let mut properties: Map<String, Json> =
        keys::names(host).map(|name| (name.to_owned(), json!({}))).collect();
    properties.extend(own.iter().map(|spec| (spec.key.clone(), option(spec, true))));
    if role == Role::Writer
        && let Some(writer) = &plugin.writer
    {
        properties.extend(abilities(writer));
    }
    let required = |scope: OptionScope| -> Vec<&str> {
        let own = own.iter().filter(|spec| spec.required && spec.scope == scope);
        own.map(|spec| spec.key.as_str()).collect()
    };
    json!({
        "description": plugin.summary,
        "properties": properties,
        "additionalProperties": false,
        "required": required(OptionScope::Job),
        "anyOf": [
            { "required": ["connection"] },
            { "required": required(OptionScope::Connection) },
        ],
    })
}

/// The host's keys as far as this writer supports them.
fn abilities(writer: &WriterDescriptor) -> Map<String, Json> {
    let mut properties = Map::new();
    let has = |mode| writer.modes.iter().any(|own| own.mode == mode);
    let fits =
        modes(|mode, load| has(mode) && load.is_none_or(|load| writer.loads.contains(&load)));
    properties.insert("write_mode".to_owned(), fits);
    let loads = std::iter::once("auto").chain(writer.loads.iter().map(|load| load.word()));
    let loads = filled(json!({ "enum": loads.collect::<Vec<_>>() }));
    properties.insert("load".to_owned(), loads);
    if !writer.creates_table {
        properties.insert("create_table".to_owned(), json!({ "const": false }));
    }
    if !writer.runs_statements {
        let none = json!({ "const": [] });
        properties.extend(["before", "after"].map(|key| (key.to_owned(), none.clone())));
    }
    properties
}

/// An option of a plugin. Only jobs have parameters.
fn option(spec: &OptionSpec, in_job: bool) -> Json {
    let schema = match &spec.kind {
        _ if spec.secret => json!({ "$ref": "#/definitions/secret" }),
        kind => kind.json_schema(),
    };
    let tested = ["pattern", "enum"].iter().any(|key| schema.get(key).is_some());
    let mut schema = match tested && in_job {
        true => filled(schema),
        false if spec.secret => json!({ "allOf": [schema] }),
        false => schema,
    };
    schema["description"] = json!(spec.doc);
    if let Some(default) = &spec.default {
        schema["default"] = default.clone();
    }
    schema
}

/// The options of one plugin in a connection: those of both roles that give address and login.
fn connection_of(plugin: &Descriptor) -> Json {
    let roles = [Role::Reader, Role::Writer].into_iter().filter_map(|role| role.options(plugin));
    let all = plugin.options.iter().chain(roles.flatten());
    let own = all.filter(|spec| spec.scope == OptionScope::Connection);
    let mut properties: Map<String, Json> =
        own.map(|spec| (spec.key.clone(), option(spec, false))).collect();
    properties.insert("plugin".to_owned(), json!({ "const": plugin.name }));
    properties.insert("isolation".to_owned(), value(Kind::Isolation));
    json!({
        "type": "object",
        "description": plugin.summary,
        "properties": properties,
        "additionalProperties": false,
    })
}

/// The rules of the plugin that a connection names.
fn by_plugin(plugins: &[Descriptor]) -> Json {
    let rules: Vec<Json> = plugins
        .iter()
        .map(|plugin| {
            let rule = json!({ "$ref": format!("#/definitions/{}", plugin.name) });
            json!({ "if": named(&plugin.name), "then": rule })
        })
        .collect();
    json!({ "type": "object", "allOf": rules })
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn types_are_types() {
        for name in LogicalType::plain_names() {
            assert!(name.parse::<LogicalType>().is_ok(), "{name}");
        }
        for (name, _) in LogicalType::sized_names() {
            assert!(format!("{name}(5)").parse::<LogicalType>().is_ok(), "{name}");
        }
    }
}
