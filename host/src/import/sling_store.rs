//! The connections of a replication of Sling: by name from its own file or from `connections.toml`, or as a
//! URL.

use transload_plugin_api::code;

use super::{
    connections::Address,
    cx::Cx,
    job_text::{Line, pair},
    tree::{Item, Node, Value, place_of},
    url, yaml,
};

/// Connections of Sling by name.
pub(crate) struct Environment(Node);

impl Environment {
    /// Those of an `env.yaml`.
    ///
    /// # Errors
    /// If it cannot be read, or has no connections.
    pub(crate) fn open(path: &std::path::Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {shown}: {error}"))?;
        let node = yaml::parse(&text).map_err(|error| {
            let (line, column) = place_of(&text, error.offset);
            format!("{shown}:{line}:{column}: {}", error.message)
        })?;
        let connections = node.get("connections").cloned();
        connections.map(Self).ok_or_else(|| format!("{shown} has no `connections`"))
    }
}

/// A connection of the replication.
pub(super) struct Store {
    pub(super) plugin: String,
    pub(super) lines: Vec<Line>,
    /// The schema of names that have none.
    pub(super) schema: String,
}

/// The store that `source` or `target` names.
pub(super) fn store(
    cx: &mut Cx<'_>,
    item: &Item<'_>,
    environment: Option<&Environment>,
) -> Option<Store> {
    let name = cx.text(item)?;
    let hint = "give Sling's env.yaml with --env-file, or define it in connections.toml of the --out folder";
    let address = if name.contains("://") {
        url::address(&name)
    } else if name.eq_ignore_ascii_case("local") {
        Ok(Some(Address {
            plugin: "file",
            options: Vec::new(),
            secrets: Vec::new(),
            remarks: Vec::new(),
        }))
    } else if let Some(node) = environment.and_then(|it| find(&it.0, &name)) {
        url::of_sling(node)
    } else if let Some(plugin) = cx.connections.plugin_of(&name) {
        let Some(plugin) = plugin else {
            cx.notes.refuse(
                item,
                format!("connection `{name}` does not say its plugin"),
                "add `plugin = \"...\"`",
            );
            return None;
        };
        return Some(Store {
            schema: default_schema(&plugin).to_owned(),
            plugin,
            lines: vec![pair("connection", name)],
        });
    } else {
        cx.notes.refuse(item, format!("which store `{name}` is, the document does not say"), hint);
        return None;
    };
    match address {
        Ok(Some(address)) => {
            let schema = environment.and_then(|it| find(&it.0, &name)?.get("schema")?.text());
            let schema = schema.unwrap_or_else(|| default_schema(address.plugin).to_owned());
            let wish = if name.contains("://") { wish(&address) } else { name };
            let lines = match address.plugin {
                "file" => vec![pair("plugin", "file")],
                _ => cx.login(&address, &wish, &item.path),
            };
            Some(Store { plugin: address.plugin.to_owned(), lines, schema })
        }
        Ok(None) => {
            cx.notes.refuse_as(
                code::IMPORT_PLUGIN,
                item,
                format!("there is no plugin for the store of `{}`", plain(&name)),
                "`transload plugin list` shows the plugins that there are",
            );
            None
        }
        Err(why) => {
            cx.notes.refuse(item, format!("the address cannot be read: {why}"), "");
            None
        }
    }
}

/// The name of a connection, or the scheme of a URL: the rest may hold a password.
fn plain(name: &str) -> &str {
    name.split("://").next().unwrap_or(name)
}

fn wish(address: &Address) -> String {
    let option = |key: &str| {
        address.options.iter().find(|(it, _)| *it == key).and_then(|(_, value)| value.as_str())
    };
    let text =
        option("database").or_else(|| option("path")).or_else(|| option("url")).unwrap_or("store");
    let last = text.rsplit('/').next().unwrap_or(text);
    last.trim_end_matches(".db").to_owned()
}

fn find<'n>(connections: &'n Node, name: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &connections.value else { return None };
    entries.iter().find(|entry| entry.key.eq_ignore_ascii_case(name)).map(|entry| &entry.node)
}

fn default_schema(plugin: &str) -> &'static str {
    if plugin == "postgres" { "public" } else { "" }
}
