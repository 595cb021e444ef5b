//! Predefined sets of columns.

use serde::Deserialize;

/// The predefined set of columns that the reader starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Preset {
    /// None: `specs` defines all columns.
    None,
    /// The sixteen columns of TPC-H's `lineitem`: its types and value ranges, but not the
    /// dependencies between its columns.
    Lineitem,
}

impl Preset {
    /// Names and specs in the table's order.
    pub(crate) fn columns(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::None => &[],
            Self::Lineitem => LINEITEM,
        }
    }

    /// The primary key of the set.
    pub(crate) fn key(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Lineitem => &["l_orderkey", "l_linenumber"],
        }
    }
}

const LINEITEM: &[(&str, &str)] = &[
    ("l_orderkey", "int64 sequence every 4"),
    ("l_partkey", "int64 range 1..200000"),
    ("l_suppkey", "int64 range 1..10000"),
    ("l_linenumber", "int32 cycle 4"),
    ("l_quantity", "decimal(15,2) range 1..50"),
    ("l_extendedprice", "decimal(15,2) range 900..105000"),
    ("l_discount", "decimal(15,2) range 0..0.1"),
    ("l_tax", "decimal(15,2) range 0..0.08"),
    ("l_returnflag", "text(1) choice A|N|R"),
    ("l_linestatus", "text(1) choice F|O"),
    ("l_shipdate", "date 1992-01-02..1998-12-01"),
    ("l_commitdate", "date 1992-01-31..1998-10-31"),
    ("l_receiptdate", "date 1992-01-03..1998-12-31"),
    ("l_shipinstruct", "text(25) choice COLLECT COD|DELIVER IN PERSON|NONE|TAKE BACK RETURN"),
    ("l_shipmode", "text(10) choice AIR|FOB|MAIL|RAIL|REG AIR|SHIP|TRUCK"),
    ("l_comment", "text(44) words 2..7"),
];
