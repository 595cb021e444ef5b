//! The cases of the suite, each by name, so that they can run one by one. What they check is in the
//! modules of the suite; what came of them all is in `report`.

use std::rc::Rc;

/// One requirement, or some that belong together. Running it panics at the first that is not met.
pub struct Case<'a> {
    /// `descriptor`, `reader` or `writer`.
    pub area: &'static str,
    /// What is checked, in a few words; for a writer with the write mode.
    pub name: String,
    run: Box<dyn Fn() + 'a>,
}

impl<'a> Case<'a> {
    pub(super) fn new(area: &'static str, name: impl Into<String>, run: impl Fn() + 'a) -> Self {
        Self { area, name: name.into(), run: Box::new(run) }
    }

    /// Checks the requirement.
    ///
    /// # Panics
    /// If it is not met, with what was expected and what was found.
    pub fn run(&self) {
        (self.run)();
    }
}

/// Cases of methods of one suite, in order.
pub(super) struct Cases<'a, S> {
    area: &'static str,
    suite: Rc<S>,
    pub(super) all: Vec<Case<'a>>,
}

impl<'a, S: 'a> Cases<'a, S> {
    pub(super) fn new(area: &'static str, suite: S) -> Self {
        Self { area, suite: Rc::new(suite), all: Vec::new() }
    }

    /// Adds a method of the suite.
    pub(super) fn add(&mut self, name: impl Into<String>, run: impl Fn(&S) + 'a) {
        let suite = self.suite.clone();
        self.all.push(Case::new(self.area, name, move || run(&suite)));
    }
}
