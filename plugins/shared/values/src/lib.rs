//! One value: its text both ways, its view in an array, its place in a builder. Files, text columns
//! and databases share this one meaning; quoting, what stands for NULL and the literals of a server
//! are left to formats and plugins. There is no I/O here.
//!
//! | item | what it is for |
//! |---|---|
//! | [`parse`], [`mod@write`] | the text of a single value to the value and back |
//! | [`ColumnParser`], [`ColumnRenderer`] | the same for all values of a column |
//! | [`FormedRenderer`] | values in another form than the usual one |
//! | [`View`] | the values of an Arrow array by logical type |
//! | [`Compared`], [`RowDigest`], [`Checksum`] | the text by which values of two stores are compared |
//! | [`Builder`] | the buffers that become an Arrow array, by logical type |
//! | [`Pattern`], [`Separators`], [`Forms`] | other forms of dates and numbers, as a job says |
//! | [`Fault`], [`hint()`] | why a text is not a value; what would make it one |
//! | [`calendar`], [`Ticks`] | how dates and times are counted |
//!
//! # Text of values
//!
//! Blanks around a value are refused for every type but `text` and `json`, and so is empty text for
//! every type but `text` and `binary`. What a type cannot hold exactly is refused, never rounded or
//! cut; the one exception is a float, which is the nearest one to its text.
//!
//! | type | text that is read | text that is written |
//! |---|---|---|
//! | boolean | `true t yes y 1 on`, `false f no n 0 off`, in any case | `true`, `false` |
//! | integers | digits; a leading `+` or `-`; `-0` is 0; no point, no exponent | digits |
//! | decimal | `12`, `12.5`, `.5`, `5.`, `1e5`, signed; 76 digits; more digits than precision or scale allow only if they are zeros | every digit of the scale |
//! | numeric | as decimal, of any length; `NaN`, `Infinity`, `-Infinity` in this spelling | as it was read |
//! | float32, float64 | as decimal; the nearest float, but no number becomes 0 or an infinity, and a whole number in digits alone is kept exactly; `NaN`, `inf`, `Infinity` in any case | shortest text that reads back; `NaN`, `Infinity`, `-Infinity`, `-0.0` |
//! | text | UTF-8 of at most the declared characters | as it is |
//! | date | `YYYY-MM-DD`; other years with a sign: `-0044-03-15`, `+12345-06-07` (year 0 is 1 BC) | the same |
//! | time | `HH:MM:SS[.f]` below 24:00:00, no leap second; no more fractional digits than the type has, unless they are zeros | fraction without zeros at its end |
//! | timestamp | a date, a blank or `T`, a time; no offset | `YYYY-MM-DD HH:MM:SS[.f]` |
//! | timestamptz | the same with `Z`, `UTC`, `+HH`, `+HHMM`, `+HH:MM` or `+HH:MM:SS`, a blank before it or not; an offset is required | `YYYY-MM-DDTHH:MM:SS[.f]Z`, in UTC |
//! | duration | `[-]H:MM:SS[.f]`, any number of hours | at least two digits of hours |
//! | binary | hexadecimal digits in any case, with `\x` or `0x` before them or not; or base64 | lower case digits, or base64 |
//! | uuid | 8-4-4-4-12 or 32 hexadecimal digits in any case, also in braces | 8-4-4-4-12, lower case |
//! | json | a JSON document | as it was read |
//! | interval, list | no text | no text |
//! | native | none | as the store prints it, for messages; hexadecimal digits where no text is known |
//!
//! # Where a route differs, and why
//!
//! | route | rule | reason |
//! |---|---|---|
//! | CSV, JSON | the words of booleans, base64, the text of NULL, patterns of dates and (CSV) separators of numbers can be chosen | files have no types of their own |
//! | JSON | a number must also be one of JSON's (`.5`, `+1`, `NaN` are text in quotes); an unquoted number, `true` and nested values are read by their text in the file | the grammar of JSON comes before the value |
//! | type inference | only `true` and `false` are booleans; `007`, `+1`, `.5`, `-0`, `NaN` stay text | a guess must not change what is written back |
//! | text column to `binary` | the bytes of the text itself | a text column is not an encoding of bytes; a file has no other way to hold them |
//! | `numeric` to a float | refused unless the shortest text of the float is the same number | a numeric is exact, as a decimal is; its text is not that of a float |
//! | SQLite, value stored as a number | INTEGER and REAL are converted by value, and a REAL becomes a decimal by its shortest text | they are numbers, not texts |
//! | SQLite, BLOB | 16 bytes are a `uuid`, any are `binary`, other types refuse it | bytes are not text |
//! | SQLite, written | years 0 to 9999; a blank instead of `T`; fractions of six or nine digits | its own date functions read no other years, and stored texts must compare equal |
//! | MySQL, read | 16 bytes are a `uuid` | `binary(16)` is how MySQL keeps it |
//! | MySQL, read | dates such as `0000-00-00` follow the option `zero_dates` | they are not dates of the calendar |
//! | MySQL, written | years 1 to 9999; no NaN, infinity or -0; durations to 838:59:59.999999 | the server has no others |
//! | PostgreSQL | values travel in its binary form; `numeric` text is parsed as here | the binary form has no text |

mod builder;
mod bytes;
pub mod calendar;
mod cells;
mod column;
mod compared;
mod fault;
mod formed;
mod hint;
mod json;
mod native;
pub mod parse;
mod pattern;
mod render;
mod separators;
mod texts;
mod ticks;
mod view;
mod words;
pub mod write;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

pub use builder::{BATCH_BYTES, BATCH_ROWS, Builder, Bytes, InvalidText};
pub use cells::{Cells, null_lengths, unquote};
pub use column::ColumnParser;
pub use compared::{Checksum, ChecksumSum, Compared, RowDigest};
pub use fault::{Fault, SHOWN, ValueError, characters, is_longer, shorten};
pub use formed::FormedRenderer;
pub use hint::{form_hint, hint};
pub use json::JsonRow;
pub use native::{NativeText, decimal_groups};
pub use pattern::Pattern;
pub use render::ColumnRenderer;
pub use separators::Separators;
pub use ticks::Ticks;
pub use view::View;
pub use words::{BinaryText, CellWords, ColumnForm, Forms};
