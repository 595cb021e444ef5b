//! What the cases of a writer share: the plugin, its test's subject, and runs of small plans.
//! The cases themselves are in `writer` and `modes`.

use super::{
    Subject, Target, expect, host,
    run::{Run, plan},
    samples,
};
use crate::{
    ConflictEffect, KeyNeed, Plugin, WriteMode, WriteModeSpec, WritePlan, Writer, WriterDescriptor,
};

/// One plugin's writer under test.
pub(super) struct WriterSuite<'a> {
    pub(super) plugin: &'a dyn Plugin,
    pub(super) subject: &'a dyn Subject,
    /// The writer's part of the descriptor.
    pub(super) declared: WriterDescriptor,
}

impl WriterSuite<'_> {
    /// A target for [`samples::keyed`] rows, with a key unless the mode does not use keys.
    pub(super) fn target(&self, spec: &WriteModeSpec) -> Box<dyn Target + '_> {
        self.subject.target(&samples::keyed_columns(), &key(spec))
    }

    /// A drafted run that writes such rows.
    pub(super) fn run(&self, target: &dyn Target, spec: &WriteModeSpec) -> Run {
        self.draft(target, self.plan(spec))
    }

    /// A plan for such rows.
    pub(super) fn plan(&self, spec: &WriteModeSpec) -> WritePlan {
        WritePlan { key: key(spec), ..keyed_plan(spec.mode) }
    }

    /// A run of this plan, which the writer must accept.
    pub(super) fn draft(&self, target: &dyn Target, plan: WritePlan) -> Run {
        let what = format!("`draft` of mode `{}`", plan.mode.word());
        expect(Run::draft(self.plugin, self.subject, target, plan), &what)
    }

    /// A writer to the target, before any plan.
    pub(super) fn writer(&self, target: &dyn Target, mode: WriteMode) -> Box<dyn Writer> {
        let writer = self.plugin.writer(target.writer_options(mode), host(self.subject));
        expect(writer, "a writer to the subject's target")
    }

    /// The mode for cases that are not about modes.
    pub(super) fn first_mode(&self) -> &WriteModeSpec {
        &self.declared.modes[0]
    }
}

/// The key to plan with: none where the mode has no conflicts.
pub(super) fn key(spec: &WriteModeSpec) -> Vec<String> {
    let keyed = spec.conflict != ConflictEffect::None || spec.needs != KeyNeed::Nothing;
    if keyed { vec![samples::KEY.to_owned()] } else { Vec::new() }
}

/// A plan for [`samples::keyed`] rows; an upsert updates `name` alone.
pub(super) fn keyed_plan(mode: WriteMode) -> WritePlan {
    let mut plan = plan(mode, &samples::keyed_columns(), &[samples::KEY.to_owned()]);
    if mode == WriteMode::Upsert {
        plan.update_columns = vec!["name".to_owned()];
    }
    plan
}
