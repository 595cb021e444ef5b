//! Which columns the fields of a file become: each is one, or a struct is divided into a column for
//! each of its own fields. What cannot be read is kept with the reason.

use std::{collections::HashMap, ops::Range};

use arrow_schema::Field;
use parquet::{
    basic::Repetition,
    schema::types::{Type, TypePtr},
};
use transload_plugin_api::Column;

use super::types::{self, ColumnType, native_name};
use crate::{Candidate, Nested, Nesting, nested::listed, taken_names};

/// The columns of a file.
#[derive(Default)]
pub(super) struct Layout {
    pub(super) columns: Vec<Column>,
    /// The place of each column.
    pub(super) places: Vec<ColumnPath>,
    /// Columns that cannot be read, with the reason.
    pub(super) unreadable: Vec<(String, String)>,
    /// How nested columns are read.
    pub(super) nested: Vec<NestedColumn>,
}

/// The place of a column in the file's schema.
#[derive(Clone, Debug)]
pub(super) struct ColumnPath {
    /// The index among the fields of the schema's root.
    pub(super) root: usize,
    /// The indexes of the fields that lead from there to the column, through structs.
    pub(super) within: Vec<usize>,
    /// The indexes among the leaves.
    pub(super) leaves: Range<usize>,
    pub(super) column_type: ColumnType,
}

/// A field of the schema's root that has fields itself, and how it is read.
pub(super) struct NestedColumn {
    /// The columns.
    names: Range<usize>,
    text: String,
}

/// A field of the schema's root.
struct Root<'a> {
    number: usize,
    /// Its first leaf.
    leaf: usize,
    field: &'a Type,
    column_type: Result<ColumnType, String>,
    /// Its columns, if it is divided.
    columns: Vec<(Column, ColumnPath)>,
}

impl Layout {
    /// The columns of these fields. `arrow` are the fields of the Arrow schema, if there is one.
    pub(super) fn of(
        fields: &[TypePtr],
        arrow: Option<&arrow_schema::Fields>,
        nesting: &Nesting,
    ) -> Self {
        let mut count: HashMap<&str, usize> = HashMap::new();
        fields.iter().for_each(|field| *count.entry(field.name()).or_default() += 1);
        let mut leaf = 0;
        let roots = fields.iter().enumerate().map(|(number, field)| {
            let hint = arrow.and_then(|arrow| arrow.get(number)).map(AsRef::as_ref);
            let column_type = match count.get(field.name()) {
                Some(1) => column_type(field, hint, nesting.nested),
                _ => Err("more than one column has this name".to_owned()),
            };
            let mut root = Root { number, leaf, field, column_type, columns: Vec::new() };
            leaf += leaves(field);
            if nesting.flattens(field.name()) {
                root.divide();
            }
            root
        });
        let roots: Vec<_> = roots.collect();
        let whole = taken_names(&roots.iter().map(Root::candidate).collect::<Vec<_>>());
        let mut layout = Self::default();
        for root in roots {
            let taken = whole.get(&root.number);
            layout.add(root, taken);
        }
        layout
    }

    /// How the nested columns are read; of those that are `wanted`, if the job names columns.
    pub(super) fn nested(&self, wanted: Option<&[String]>) -> Vec<String> {
        let is_wanted = |nested: &&NestedColumn| {
            let columns = self.columns.get(nested.names.clone()).unwrap_or_default();
            wanted.is_none_or(|wanted| columns.iter().any(|column| wanted.contains(&column.name)))
        };
        self.nested.iter().filter(is_wanted).map(|nested| nested.text.clone()).collect()
    }

    fn add(&mut self, root: Root<'_>, taken: Option<&String>) {
        let name = root.field.name();
        let column_type = match root.column_type {
            Ok(column_type) => column_type,
            Err(why) => {
                let unreadable = (name.to_owned(), why);
                if !self.unreadable.contains(&unreadable) {
                    self.unreadable.push(unreadable);
                }
                return;
            }
        };
        let start = self.columns.len();
        let kind = native_name(root.field);
        let is_divided = !root.columns.is_empty() && taken.is_none();
        let text = match (is_divided, taken) {
            (true, _) => {
                let names: Vec<_> = root.columns.iter().map(|it| it.0.name.as_str()).collect();
                format!("column `{name}` ({kind}) is read as {}", listed(&names))
            }
            (false, Some(taken)) => format!(
                "column `{name}` ({kind}) is read as JSON text: another column is called `{taken}`"
            ),
            (false, None) => format!("column `{name}` ({kind}) is read as JSON text"),
        };
        if is_divided {
            let json = root.columns.iter().filter(|(_, place)| place.column_type.is_nested());
            let json: Vec<_> = json.map(|(column, _)| column.name.as_str()).collect();
            let json = match json.as_slice() {
                [] => String::new(),
                names => format!("; as JSON text: {}", listed(names)),
            };
            self.nested.push(NestedColumn {
                names: start..start + root.columns.len(),
                text: text + &json,
            });
            for (column, place) in root.columns {
                self.columns.push(column);
                self.places.push(place);
            }
            return;
        }
        if column_type.is_nested() {
            self.nested.push(NestedColumn { names: start..start + 1, text });
        }
        let place = ColumnPath {
            root: root.number,
            within: Vec::new(),
            leaves: root.leaf..root.leaf + leaves(root.field),
            column_type,
        };
        self.columns.push(column(root.field, name, &place.column_type, false));
        self.places.push(place);
    }
}

impl Root<'_> {
    fn candidate(&self) -> Candidate {
        let fields = self.columns.iter().map(|(column, _)| column.name.clone()).collect();
        Candidate { name: self.field.name().to_owned(), fields }
    }

    /// Divides a struct into a column for each of its fields; structs within it, too.
    fn divide(&mut self) {
        let Ok(column_type @ ColumnType::Struct(_)) = &self.column_type else { return };
        let mut place = Place { root: self.number, leaf: self.leaf, ..Place::default() };
        place.walk(self.field, self.field.name(), column_type, false);
        self.columns = place.columns;
    }
}

/// A walk through a struct.
#[derive(Default)]
struct Place {
    root: usize,
    /// The next leaf.
    leaf: usize,
    within: Vec<usize>,
    columns: Vec<(Column, ColumnPath)>,
}

impl Place {
    fn walk(&mut self, field: &Type, name: &str, column_type: &ColumnType, nullable: bool) {
        let nullable = nullable || is_optional(field);
        let ColumnType::Struct(of) = column_type else {
            let end = self.leaf + leaves(field);
            let place = ColumnPath {
                root: self.root,
                within: self.within.clone(),
                leaves: self.leaf..end,
                column_type: column_type.clone(),
            };
            self.leaf = end;
            return self.columns.push((column(field, name, column_type, nullable), place));
        };
        for (number, (field, (part, column_type))) in field.get_fields().iter().zip(of).enumerate()
        {
            self.within.push(number);
            self.walk(field, &format!("{name}.{part}"), column_type, nullable);
            self.within.pop();
        }
    }
}

/// The type of a column, unless it cannot be read.
fn column_type(field: &Type, arrow: Option<&Field>, nested: Nested) -> Result<ColumnType, String> {
    if has_nul(field) {
        return Err("its name contains the character NUL".to_owned());
    }
    let column_type = types::column_type(field)?;
    if nested == Nested::Fail && column_type.is_nested() {
        let kind = native_name(field);
        return Err(format!("`{kind}` is a nested type, and `nested` is `fail`"));
    }
    Ok(match arrow.filter(|arrow| arrow.name() == field.name()) {
        Some(arrow) => column_type.refine(arrow),
        None => column_type,
    })
}

fn column(field: &Type, name: &str, column_type: &ColumnType, nullable: bool) -> Column {
    let mut column = Column::new(name, column_type.logical(), nullable || is_optional(field));
    column.native = native_name(field);
    column
}

fn is_optional(field: &Type) -> bool {
    let info = field.get_basic_info();
    info.has_repetition() && info.repetition() == Repetition::OPTIONAL
}

fn has_nul(field: &Type) -> bool {
    let within = |field: &Type| field.get_fields().iter().any(|field| has_nul(field));
    field.name().contains('\0') || (field.is_group() && within(field))
}

fn leaves(field: &Type) -> usize {
    if field.is_primitive() {
        return 1;
    }
    field.get_fields().iter().map(|field| leaves(field)).sum()
}
