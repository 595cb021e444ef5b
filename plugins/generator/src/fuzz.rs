//! Any text as the specification of a column: it is refused with a reason, or describes a column.

use transload_tests_fuzz::fuzz;

use crate::spec::ColumnSpec;

#[test]
fn column_specs() {
    let seeds = ["int64 sequence 1 step 3", "decimal(15,2) 0..1000", "text words 2..5 null 10 %"];
    let words =
        ["..", "null", "sequence", "step", "%", "-", "9223372036854775807", "date", "(", ")"];
    fuzz("column_specs", seeds, &words, |input| {
        let text = std::str::from_utf8(input).ok()?;
        let spec = ColumnSpec::parse("c", text, 1_000).ok()?;
        Some(spec.column().logical.to_string())
    });
}
