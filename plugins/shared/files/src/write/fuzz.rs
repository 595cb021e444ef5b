//! Templates of object names and values of any content: no value leaves its part of a name.

use transload_tests_fuzz::fuzz;

use super::name_template::{NameTemplate, check_key, encode};

#[test]
fn object_names() {
    let seeds = ["part-{run}-{task}-{number}.{ext}\nx", "day={day}/h{hour}/x\n..", "{a}-{a}\n/é\0"];
    fuzz("object_names", seeds, &["{", "}", "/", "..", "{run}", "\\", "\0"], |input| {
        let (template, value) = std::str::from_utf8(input).ok()?.split_once('\n')?;
        let encoded = encode(value.as_bytes());
        assert!(!encoded.contains(['/', '\0', '=']), "`{encoded}` is not one part of a name");
        let template = NameTemplate::parse(template, &[]).is_ok();
        Some((template, check_key(value).is_ok()))
    });
}
