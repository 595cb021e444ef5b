//! Any text as a type, a size or a duration: what is accepted is printed so that it reads back.

use transload_tests_fuzz::fuzz;

use crate::{LogicalType, units};

#[test]
fn types_and_quantities() {
    let seeds = ["decimal(38,10)", "list<list<timestamptz(9)>>", "text(5)", "64 MiB", "1.5 min"];
    let words = ["list<", ">", "(", ")", ",", "0", "255", "4294967296", "_", ".", " KiB", "ms"];
    fuzz("types_and_quantities", seeds, &words, |input| {
        let text = std::str::from_utf8(input).ok()?;
        let logical = text.parse::<LogicalType>().ok();
        if let Some(logical) = &logical {
            assert_eq!(logical.to_string().parse::<LogicalType>().ok().as_ref(), Some(logical));
        }
        Some((logical.map(|logical| logical.family()), units::size(text), units::duration(text)))
    });
}
