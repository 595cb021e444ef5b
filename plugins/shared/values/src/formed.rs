//! The values of one column in the form that a job gives them. The usual forms, which nearly all
//! columns have, are left to [`ColumnRenderer`].

use arrow_array::Array;
use transload_plugin_api::{Column, Result};

use crate::{ColumnRenderer, Forms, Pattern, Separators, View, column::is_number};

/// The texts of the values of one column, in a form of their own.
pub struct FormedRenderer<'a> {
    usual: ColumnRenderer<'a>,
    view: View<'a>,
    form: Form,
}

enum Form {
    Pattern(Pattern),
    Separators(Separators),
}

impl<'a> FormedRenderer<'a> {
    /// A renderer for one column of a batch; `None` if its values have the usual form.
    ///
    /// # Errors
    /// As [`ColumnRenderer::new`].
    pub fn new(column: &Column, array: &'a dyn Array, forms: &Forms) -> Result<Option<Self>> {
        let form = match forms.pattern(&column.logical) {
            Some(pattern) => Form::Pattern(pattern.clone()),
            None if is_number(&column.logical) && !forms.separators.are_usual() => {
                Form::Separators(forms.separators.clone())
            }
            None => return Ok(None),
        };
        let (usual, view) = (ColumnRenderer::new(column, array)?, View::of_column(column, array)?);
        Ok(Some(Self { usual, view, form }))
    }

    /// Whether the value of the row is NULL.
    pub fn is_null(&self, row: usize) -> bool {
        self.usual.is_null(row)
    }

    /// Appends the text of the value of the row, which must not be NULL.
    ///
    /// # Errors
    /// The value in its usual form, if the form would lose a part of it; nothing is appended then.
    pub fn render(&self, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        let start = out.len();
        let written = match (&self.view, &self.form) {
            (View::Date(days), Form::Pattern(pattern)) => pattern.write_date(days[row].into(), out),
            (
                View::Time(values, ticks)
                | View::Timestamp(values, ticks)
                | View::TimestampTz(values, ticks),
                Form::Pattern(pattern),
            ) => pattern.write_ticks(values[row], *ticks, out),
            (_, Form::Pattern(_)) => false,
            (_, Form::Separators(separators)) => {
                self.usual.render(row, out);
                separators.replace_point(out, start);
                true
            }
        };
        if written {
            return Ok(());
        }
        let mut usual = Vec::new();
        self.usual.render(row, &mut usual);
        Err(String::from_utf8_lossy(&usual).into_owned())
    }
}
