//! Rows like those of TPC-H's `lineitem`, used by every benchmark of this crate.

use transload_formats::CsvDialect;
use transload_plugin_api::{Column, LogicalType};

/// The dialect of the rows: a comma, no header.
pub(crate) fn dialect() -> CsvDialect {
    CsvDialect { header: false, ..CsvDialect::default() }
}

/// The sixteen columns.
pub(crate) fn columns() -> Vec<Column> {
    let decimal = LogicalType::Decimal { precision: 15, scale: 2 };
    let text = |length| LogicalType::Text { length: Some(length) };
    let column = |name: &str, logical| Column::new(name, logical, true);
    vec![
        column("l_orderkey", LogicalType::Int64),
        column("l_partkey", LogicalType::Int32),
        column("l_suppkey", LogicalType::Int32),
        column("l_linenumber", LogicalType::Int32),
        column("l_quantity", decimal.clone()),
        column("l_extendedprice", decimal.clone()),
        column("l_discount", decimal.clone()),
        column("l_tax", decimal),
        column("l_returnflag", text(1)),
        column("l_linestatus", text(1)),
        column("l_shipdate", LogicalType::Date),
        column("l_commitdate", LogicalType::Date),
        column("l_receiptdate", LogicalType::Date),
        column("l_shipinstruct", text(25)),
        column("l_shipmode", text(10)),
        column("l_comment", text(44)),
    ]
}

/// A simple random number generator: xorshift with a fixed seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }

    fn date(&mut self) -> String {
        format!("{}-{:02}-{:02}", 1992 + self.below(7), 1 + self.below(12), 1 + self.below(28))
    }
}

/// This many rows as CSV text.
pub(crate) fn rows(count: u64) -> Vec<u8> {
    const WORDS: [&str; 12] = [
        "furiously",
        "ironic",
        "deposits",
        "carefully",
        "final",
        "requests",
        "sleep",
        "quickly",
        "among",
        "the",
        "packages",
        "haggle",
    ];
    let instructions = ["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"];
    let modes = ["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"];
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let mut out = Vec::new();
    for row in 0..count {
        let quantity = 1 + numbers.below(50);
        let cents = quantity * (90_000 + numbers.below(110_000));
        let mut comment = String::new();
        let length = 10 + numbers.below(34) as usize;
        while comment.len() < length {
            comment.push_str(numbers.pick(&WORDS));
            comment.push(' ');
        }
        comment.truncate(length);
        out.extend_from_slice(
            format!(
                "{},{},{},{},{quantity},{}.{:02},0.{:02},0.{:02},{},{},{},{},{},{},{},{comment}\n",
                1 + row / 4 * 4,
                1 + numbers.below(200_000),
                1 + numbers.below(10_000),
                1 + row % 7,
                cents / 100,
                cents % 100,
                numbers.below(11),
                numbers.below(9),
                numbers.pick(&["N", "R", "A"]),
                numbers.pick(&["O", "F"]),
                numbers.date(),
                numbers.date(),
                numbers.date(),
                numbers.pick(&instructions),
                numbers.pick(&modes),
            )
            .as_bytes(),
        );
    }
    out
}
