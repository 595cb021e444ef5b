//! What the server's messages carry beside rows of a COPY: small results as text, the columns of a
//! statement, the tag of a command, and which messages belong to an answer. `session` reads them; errors are left to `failure`.

use std::str::FromStr;

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{
    BIND_COMPLETE_TAG, COMMAND_COMPLETE_TAG, COPY_DATA_TAG, COPY_DONE_TAG, COPY_OUT_RESPONSE_TAG,
    DATA_ROW_TAG, DataRowBody, EMPTY_QUERY_RESPONSE_TAG, NO_DATA_TAG, PARAMETER_DESCRIPTION_TAG,
    PARSE_COMPLETE_TAG, ROW_DESCRIPTION_TAG, RowDescriptionBody,
};
use transload_plugin_api::{Error, Result};

use crate::failure::Failure;

/// The most columns of a result.
const COLUMNS: usize = 4_096;

/// A row of a small result, as text.
#[derive(Clone, Debug)]
pub(crate) struct TextRow(Vec<Option<String>>);

impl TextRow {
    pub(crate) fn parse(body: &DataRowBody) -> Result<Self, Failure> {
        let mut cells = Vec::new();
        let mut ranges = body.ranges();
        while let Some(range) = ranges.next()? {
            let text = |range| String::from_utf8_lossy(&body.buffer()[range]).into_owned();
            cells.push(range.map(text));
        }
        Ok(Self(cells))
    }

    /// The texts of all columns; `None` for NULL.
    pub(crate) fn into_cells(self) -> Vec<Option<String>> {
        self.0
    }

    /// The text of a column; `None` for NULL.
    pub(crate) fn optional(&self, at: usize) -> Option<&str> {
        self.0.get(at)?.as_deref()
    }

    /// The text of a column that is never NULL.
    pub(crate) fn text(&self, at: usize) -> Result<&str> {
        self.optional(at).ok_or_else(|| unexpected(at, "NULL"))
    }

    /// A number.
    pub(crate) fn number<T: FromStr>(&self, at: usize) -> Result<T> {
        let text = self.text(at)?;
        text.parse().map_err(|_| unexpected(at, text))
    }

    /// A boolean.
    pub(crate) fn flag(&self, at: usize) -> Result<bool> {
        match self.text(at)? {
            "t" => Ok(true),
            "f" => Ok(false),
            text => Err(unexpected(at, text)),
        }
    }

    /// A list of texts that the server writes as JSON.
    pub(crate) fn list(&self, at: usize) -> Result<Vec<String>> {
        let text = self.text(at)?;
        serde_json::from_str(text).map_err(|_| unexpected(at, text))
    }
}

fn unexpected(at: usize, found: &str) -> Error {
    let message = format!("unexpected answer of the server: column {} is `{found}`", at + 1);
    Error::other(message)
}

/// A column of a statement's result.
#[derive(Clone, Debug)]
pub(crate) struct ResultColumn {
    pub(crate) name: String,
    /// The type below all domains.
    pub(crate) type_oid: u32,
    pub(crate) modifier: i32,
}

/// The columns that the server describes.
pub(crate) fn result_columns(body: &RowDescriptionBody) -> Result<Vec<ResultColumn>, Failure> {
    let mut columns = Vec::new();
    let mut fields = body.fields();
    while let Some(field) = fields.next()? {
        if columns.len() == COLUMNS {
            return Err(Failure::protocol("a result has more than 4,096 columns"));
        }
        let (name, modifier) = (field.name().to_owned(), field.type_modifier());
        columns.push(ResultColumn { name, type_oid: field.type_oid(), modifier });
    }
    Ok(columns)
}

/// Whether such a message may be part of the answer to a statement.
pub(crate) fn is_answer(kind: u8) -> bool {
    let described = [
        ROW_DESCRIPTION_TAG,
        PARSE_COMPLETE_TAG,
        BIND_COMPLETE_TAG,
        PARAMETER_DESCRIPTION_TAG,
        COPY_OUT_RESPONSE_TAG,
        COPY_DATA_TAG,
        COPY_DONE_TAG,
        DATA_ROW_TAG,
    ];
    described.contains(&kind) || ends_answer(kind)
}

/// Whether a statement has been answered with such a message. Without one, the server is not ready
/// for the next statement, whatever it says.
pub(crate) fn ends_answer(kind: u8) -> bool {
    [COMMAND_COMPLETE_TAG, EMPTY_QUERY_RESPONSE_TAG, ROW_DESCRIPTION_TAG, NO_DATA_TAG]
        .contains(&kind)
}

/// The rows that a command's tag counts: the last word of `COPY 5` or `INSERT 0 5`.
pub(crate) fn rows_of(tag: &str) -> Option<u64> {
    tag.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    #[test]
    fn tags_count_rows() {
        for (tag, rows) in
            [("COPY 5", Some(5)), ("INSERT 0 7", Some(7)), ("COMMIT", None), ("", None)]
        {
            assert_eq!(rows_of(tag), rows, "{tag}");
        }
    }

    #[test]
    fn cells_of_another_form_are_refused() {
        let row = TextRow(vec![Some("12".into()), None, Some("x".into()), Some("[\"a\"]".into())]);
        assert_eq!((row.number::<u32>(0).unwrap(), row.optional(1)), (12, None));
        assert_eq!(row.list(3).unwrap(), ["a"]);
        for refused in [row.text(1).err(), row.number::<u8>(2).err(), row.flag(0).map(drop).err()] {
            assert_eq!(refused.unwrap().kind, ErrorKind::Other);
        }
        assert!(row.text(4).is_err());
    }
}
