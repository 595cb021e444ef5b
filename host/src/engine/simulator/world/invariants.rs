//! What must be true of the store at every moment, and at the end of a run that has succeeded.

use super::{
    super::store::{Content, Kind},
    Checked, World,
};

impl World {
    /// The rows below a position that are clean, and those that are not.
    pub(super) fn rows(&self, position: u64) -> (Vec<u64>, Vec<u64>) {
        let is_dirty = self.is_dirty();
        (0..position).partition(|row| !is_dirty(*row))
    }

    /// What must be true at every moment.
    pub(super) fn check(&self) -> Checked {
        for (number, stored) in self.store.tasks.iter().enumerate() {
            let Content { rows, known, at } = &stored.content;
            let (clean, dirty) = self.rows(at.position);
            match self.store.kind {
                Kind::Token => {
                    if *rows != clean {
                        return Err(format!(
                            "task {number} is at row {} and has {rows:?}: not the first rows, each \
                             once",
                            at.position
                        ));
                    }
                    let counted = (known.counters.read, known.counters.dirty);
                    if counted != (at.position, dirty.len() as u64) {
                        return Err(format!("task {number} counts {counted:?}: {at:?}, {dirty:?}"));
                    }
                    // The copy of a folder may lack what its first owner has added since.
                    if !self.had_zombie && at.dirty != dirty.len() {
                        return Err(format!("task {number}: dirty file: {at:?}, not {dirty:?}"));
                    }
                }
                Kind::Staged => {
                    let all = self.rows(self.splits[number].rows).0;
                    if stored.published.as_ref().is_some_and(|content| content.rows != all) {
                        return Err(format!("task {number} is published, and not finished"));
                    }
                }
                Kind::Keyed | Kind::Append if self.attempts == 1 && *rows != clean => {
                    return Err(format!("task {number} has {rows:?}, not {clean:?}"));
                }
                Kind::Keyed | Kind::Append => {}
            }
        }
        Ok(())
    }

    /// What must be true when a run has succeeded.
    pub(super) fn check_end(&self) -> Checked {
        for (number, stored) in self.store.tasks.iter().enumerate() {
            let (all, dirty) = self.rows(self.splits[number].rows);
            let mut rows = match self.store.kind {
                Kind::Staged => stored.published.clone().unwrap_or_default().rows,
                _ => stored.content.rows.clone(),
            };
            rows.sort_unstable();
            if self.store.kind == Kind::Append && self.attempts > 1 {
                rows.dedup();
            }
            if rows != all {
                return Err(format!("task {number} has {rows:?} at the end, not {all:?}"));
            }
            let file = &self.folder.tasks[number].dirty;
            if !self.had_zombie && *file != dirty {
                return Err(format!("task {number}: dirty rows {file:?}, not {dirty:?}"));
            }
            let known = self.folder.tasks[number].known.unwrap_or_default();
            if !self.had_zombie && known.counters.dirty != dirty.len() as u64 {
                return Err(format!("task {number}: {} dirty rows counted", known.counters.dirty));
            }
        }
        Ok(())
    }
}
