//! Parses the server's packets: its version, the result of a statement, columns, rows in text form,
//! errors. Reading them is left to `session`.

use crate::{
    failure::{Failure, ServerError},
    wire::Taker,
};

/// Which server this is, as far as its dialect differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) mariadb: bool,
    pub(crate) version: (u32, u32, u32),
    /// The version as the server sends it.
    pub(crate) text: String,
}

impl Server {
    /// MariaDB puts `5.5.5-` before its version for old clients.
    pub(crate) fn parse(text: &str) -> Self {
        let mariadb = text.contains("MariaDB");
        let bare = if mariadb { text.trim_start_matches("5.5.5-") } else { text };
        let mut parts =
            bare.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or_default());
        let mut next = || parts.next().unwrap_or_default();
        Self { mariadb, version: (next(), next(), next()), text: bare.to_owned() }
    }

    pub(crate) fn name(&self) -> &'static str {
        if self.mariadb { "MariaDB" } else { "MySQL" }
    }
}

/// The result of a statement without rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) affected: u64,
    pub(crate) warnings: u16,
    pub(crate) status: u16,
    info: String,
}

impl Done {
    /// A number from the result's text (`Records: 3  Duplicates: 1  Warnings: 0`).
    pub(crate) fn named(&self, name: &str) -> Option<u64> {
        let (_, rest) = self.info.split_once(name)?;
        let rest = rest.strip_prefix(':')?.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    }
}

/// A row of a small result, as text.
pub(crate) type TextRow = Vec<Option<String>>;

/// A column of a result.
#[derive(Clone, Debug)]
pub(crate) struct ResultColumn {
    pub(crate) name: String,
    pub(crate) kind: u8,
    pub(crate) flags: u16,
    pub(crate) charset: u16,
    pub(crate) length: u32,
    pub(crate) decimals: u8,
}

/// The longest text of an error, in bytes: both servers stop at 512.
const TEXT: usize = 4 << 10;

/// The number, state and text of an error packet.
pub(crate) fn server_error(packet: &[u8]) -> ServerError {
    let mut taker = Taker(packet.get(1..packet.len().min(TEXT)).unwrap_or_default());
    let number = taker.u16().unwrap_or_default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match taker.0.split_first() {
        Some((b'#', rest)) if rest.len() >= 5 => {
            ServerError { number, state: text(&rest[..5]), text: text(&rest[5..]) }
        }
        _ => ServerError { number, state: "HY000".to_owned(), text: text(taker.0) },
    }
}

/// The content of an OK packet.
pub(crate) fn ok_packet(packet: &[u8]) -> Result<Done, Failure> {
    let mut taker = Taker(packet.get(1..).unwrap_or_default());
    let head = (|| {
        let affected = taker.length()?;
        taker.length()?; // the last generated id
        Some((affected, taker.u16()?, taker.u16()?))
    })();
    let (affected, status, warnings) =
        head.ok_or_else(|| Failure::protocol("a malformed OK packet"))?;
    let info = String::from_utf8_lossy(taker.0).into_owned();
    Ok(Done { affected, warnings, status, info })
}

/// The status in the packet that ends columns or rows.
pub(crate) fn end_status(packet: &[u8]) -> u16 {
    let mut taker = Taker(packet.get(3..).unwrap_or_default());
    taker.u16().unwrap_or_default()
}

/// A packet that describes a column.
pub(crate) fn result_column(packet: &[u8]) -> Option<ResultColumn> {
    let mut taker = Taker(packet);
    for _ in 0..4 {
        taker.string()?; // catalog, schema, table, original table
    }
    let name = String::from_utf8_lossy(taker.string()?).into_owned();
    taker.string()?; // original name
    taker.length()?;
    let charset = taker.u16()?;
    let length = taker.u32()?;
    let (kind, flags, decimals) = (taker.byte()?, taker.u16()?, taker.byte()?);
    Some(ResultColumn { name, kind, flags, charset, length, decimals })
}

/// A row of the text protocol.
pub(crate) fn text_row(packet: &[u8], count: u64) -> Result<TextRow, Failure> {
    let mut taker = Taker(packet);
    let cell = |_| {
        if taker.0.first() == Some(&0xFB) {
            taker.byte();
            return Ok(None);
        }
        let bytes = taker.string().ok_or_else(|| Failure::protocol("a malformed row"))?;
        Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
    };
    (0..count).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_tell_themselves_apart() {
        for (text, mariadb, version) in [
            ("5.5.5-10.11.14-MariaDB-0+deb12u2", true, (10, 11, 14)),
            ("11.4.2-MariaDB", true, (11, 4, 2)),
            ("8.0.36", false, (8, 0, 36)),
            ("9.7.0-debian", false, (9, 7, 0)),
        ] {
            let server = Server::parse(text);
            assert_eq!((server.mariadb, server.version), (mariadb, version), "{text}");
        }
    }

    #[test]
    fn answers_name_their_numbers() {
        let done =
            Done { info: "Records: 4  Duplicates: 2  Warnings: 0".to_owned(), ..Done::default() };
        assert_eq!(done.named("Records"), Some(4));
        assert_eq!(done.named("Duplicates"), Some(2));
        assert_eq!(done.named("Deleted"), None);
    }

    #[test]
    fn error_packets_are_read() {
        let packet = b"\xff\x28\x04#42000You have an error";
        let error = server_error(packet);
        assert_eq!((error.number, error.state.as_str()), (1064, "42000"));
        assert_eq!(error.text, "You have an error");
    }
}
