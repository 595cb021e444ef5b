//! The form in which a store keeps values that no other kind of store holds exactly. A reader
//! offers it, a writer of the same kind accepts it, and the values pass untouched. What the bytes
//! mean is known to the plugins of that store only.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a store sends and takes the values of a type of its own. Equal forms mean that a value that
/// one side sends is the same value at the other.
///
/// A reader offers the form of a column in [`Column::native_form`](crate::Column::native_form), and
/// the plan's column carries the offer to the writer. A writer accepts it by drafting the column as
/// [`LogicalType::Native`](crate::LogicalType::Native) of that form; the reader is then asked for
/// the same type. A writer that does not know the form drafts the column as without the offer.
///
/// A form names all that decides what the bytes mean: if two servers of one kind would read them as
/// different values, their forms differ.
///
/// # Examples
/// ```
/// use transload_plugin_api::{LogicalType, NativeForm};
///
/// let form = NativeForm::binary("PostgreSQL", "numeric(10,2)");
/// assert_eq!(form.to_string(), "PostgreSQL binary numeric(10,2)");
///
/// let column = LogicalType::Native(form.into());
/// assert_eq!(column.to_string(), "native<PostgreSQL binary numeric(10,2)>");
/// assert_eq!(column.to_string().parse(), Ok(column));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NativeForm {
    /// The kind of store, in one word, as its vendor spells it.
    pub store: String,
    /// What the values are made of.
    pub encoding: NativeEncoding,
    /// The store's type, with everything that the form depends on.
    pub type_name: String,
}

/// What the values of a [`NativeForm`] are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NativeEncoding {
    /// UTF-8, carried as `Utf8`.
    Text,
    /// Bytes, carried as `Binary`.
    Binary,
}

impl NativeForm {
    /// A form whose values are text.
    pub fn text(store: &str, type_name: impl Into<String>) -> Self {
        let (store, type_name) = (store.to_owned(), type_name.into());
        Self { store, encoding: NativeEncoding::Text, type_name }
    }

    /// A form whose values are bytes.
    pub fn binary(store: &str, type_name: impl Into<String>) -> Self {
        let (store, type_name) = (store.to_owned(), type_name.into());
        Self { store, encoding: NativeEncoding::Binary, type_name }
    }
}

impl fmt::Display for NativeForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoding = match self.encoding {
            NativeEncoding::Text => "text",
            NativeEncoding::Binary => "binary",
        };
        write!(f, "{} {encoding} {}", self.store, self.type_name)
    }
}

/// A text that is no native form: three parts with blanks between them are expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeFormParseError;

impl fmt::Display for NativeFormParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a store, `text` or `binary`, and a type")
    }
}

impl std::error::Error for NativeFormParseError {}

impl FromStr for NativeForm {
    type Err = NativeFormParseError;

    fn from_str(text: &str) -> Result<Self, NativeFormParseError> {
        let mut parts = text.splitn(3, ' ');
        let (Some(store), Some(encoding), Some(type_name)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(NativeFormParseError);
        };
        if store.is_empty() || type_name.is_empty() {
            return Err(NativeFormParseError);
        }
        match encoding {
            "text" => Ok(Self::text(store, type_name)),
            "binary" => Ok(Self::binary(store, type_name)),
            _ => Err(NativeFormParseError),
        }
    }
}

impl Serialize for NativeForm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NativeForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_form_is_refused() {
        for text in ["", "x", "x binary", "x binary ", " binary y", "x hex y"] {
            assert!(text.parse::<NativeForm>().is_err(), "{text}");
        }
    }
}
