//! How reliably each row takes effect once: the weaker of what the writer guarantees and what the
//! splits allow, with the reason, and what the job requires of it.

use transload_plugin_api::{
    Guarantee, Key, Split, SplitAbility, WriteDraft, WriteMode, WritePlan, code,
};

use super::Mapping;
use crate::{Error, Exit, Result, job::Job, stores::Stores};

/// Nothing that tasks write is visible before the job's commit.
pub(super) fn is_staged(write: &WritePlan, draft: &WriteDraft) -> bool {
    match write.tokens {
        // Rows with tokens are visible chunk by chunk.
        Some(_) => draft.guarantee > Guarantee::EffectivelyOnce,
        None => draft.guarantee >= Guarantee::EffectivelyOnce,
    }
}

/// The level that makes the writer keep commit tokens, if a weaker draft does not reach it.
pub(super) fn needs_tokens(job: &Job, draft: &WriteDraft) -> bool {
    let required = job.require.filter(|required| *required >= Guarantee::EffectivelyOnce);
    required.is_some_and(|required| draft.guarantee < required)
}

/// What each split must allow for tokens to reach what the job requires.
pub(super) fn needed_ability(write: &WritePlan, draft: &WriteDraft) -> Option<SplitAbility> {
    has_tokens(write, draft).then_some(SplitAbility::Replayable)
}

/// Rows become visible chunk by chunk, each with its token.
fn has_tokens(write: &WritePlan, draft: &WriteDraft) -> bool {
    write.tokens.is_some() && draft.guarantee == Guarantee::EffectivelyOnce
}

/// The level and its reason: why it is not higher, and for tokens also why it is as high.
pub(super) fn level(
    write: &WritePlan,
    draft: &WriteDraft,
    splits: &[Split],
) -> (Guarantee, String) {
    let as_drafted = (draft.guarantee, draft.because.clone());
    let Some(weakest) = splits.iter().min_by_key(|split| split.ability) else { return as_drafted };
    let keyed = matches!(write.mode, WriteMode::Ignore | WriteMode::Upsert | WriteMode::Replace);
    let without = if keyed { Guarantee::Convergent } else { Guarantee::AtLeastOnce };
    let weaker = |because: String| (without.min(draft.guarantee), because);
    let has_tokens = has_tokens(write, draft);
    match weakest.ability {
        SplitAbility::Volatile if draft.guarantee < Guarantee::AtomicUnit => {
            weaker(format!("the split `{}` cannot be read again identically", weakest.label))
        }
        SplitAbility::Bounded if has_tokens => weaker(format!(
            "the rows of the split `{}` come in no order, so a task that ends early cannot continue \
             behind its last chunk",
            weakest.label
        )),
        SplitAbility::Replayable if has_tokens => {
            (draft.guarantee, joined("each split can be read again in the same order", draft))
        }
        SplitAbility::Seekable if has_tokens => {
            (draft.guarantee, joined("each split can be read from any position", draft))
        }
        _ => as_drafted,
    }
}

fn joined(reading: &str, draft: &WriteDraft) -> String {
    [reading, &draft.because]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

/// Fails if the plan does not reach the guarantee that the job requires. `needed` is what each split
/// must allow for it.
pub(super) fn require(
    job: &Job,
    guarantee: Guarantee,
    because: &str,
    splits: &[Split],
    needed: Option<SplitAbility>,
) -> Result<()> {
    let Some(required) = job.require.filter(|required| *required > guarantee) else {
        return Ok(());
    };
    let message = format!(
        "the job requires `{}`, the plan reaches `{}`: {because}",
        required.word(),
        guarantee.word()
    );
    let error = Error::new(Exit::Usage, message).code(code::PLAN_GUARANTEE);
    let error = error.of_key("guarantee.require");
    let is_weaker = |split: &&Split| needed.is_some_and(|needed| split.ability < needed);
    let weakest = splits.iter().filter(is_weaker).min_by_key(|split| split.ability);
    let plugin = &job.reader.plugin;
    let usual =
        || format!("options that read a source in an order: transload plugin info {plugin}");
    Err(match weakest {
        Some(split) => error.hint(split.hint.clone().unwrap_or_else(usual)),
        None => error,
    })
}

/// How a database's plan would reach more.
pub(super) fn without_tokens(
    stores: &Stores,
    write: &WritePlan,
    guarantee: Guarantee,
) -> Option<String> {
    let writer = stores.writer_descriptor.writer.as_ref();
    let is_database = writer.is_some_and(|writer| writer.runs_statements);
    let is_weak = guarantee == Guarantee::AtLeastOnce && write.tokens.is_none();
    let note = "`require = \"effectively-once\"` in [guarantee] lets a run that failed be resumed \
                without a row twice";
    (is_database && is_weak && write.mode != WriteMode::Overwrite).then(|| note.to_owned())
}

/// What tasks may do to each other's rows: the order between tasks is not defined.
pub(super) fn between_tasks(
    job: &Job,
    write: &WritePlan,
    splits: &[Split],
    source: &[Key],
    mapping: &[Mapping],
) -> Option<String> {
    let keyed = matches!(write.mode, WriteMode::Ignore | WriteMode::Upsert | WriteMode::Replace);
    let requires = job.require >= Some(Guarantee::EffectivelyOnce);
    // Rows that differ in a part of the key differ in the key.
    let is_part = |column: &String| {
        mapping.iter().any(|it| it.source.name == *column && write.key.contains(&it.target.name))
    };
    let is_unique = source.iter().any(|key| !key.unusable && key.columns.iter().all(is_part));
    if !keyed || !requires || splits.len() < 2 || is_unique {
        return None;
    }
    Some(format!(
        "if two tasks have rows with the same key ({}), which of them remains is not defined: \
         `parallelism = 1` keeps the order of the source",
        write.key.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use transload_plugin_api::TokenTables;

    use super::*;
    use Guarantee::{AtLeastOnce, AtomicJob, AtomicUnit, Convergent, EffectivelyOnce};
    use SplitAbility::{Bounded, Replayable, Seekable, Volatile};

    fn level_of(
        mode: WriteMode,
        drafted: Guarantee,
        has_tokens: bool,
        ability: SplitAbility,
    ) -> (Guarantee, String) {
        let tokens = has_tokens.then(TokenTables::default);
        let write = WritePlan { mode, tokens, ..WritePlan::default() };
        let because = "as drafted".to_owned();
        let draft = WriteDraft { guarantee: drafted, because, ..WriteDraft::default() };
        let best = Split::new("best", "", Seekable);
        level(&write, &draft, &[best, Split::new("other", "", ability)])
    }

    /// Tokens carry as far as the split with the weakest ability allows.
    #[test]
    fn the_weakest_split_decides() {
        use WriteMode::{Insert, Overwrite, Upsert};
        for (mode, drafted, has_tokens, levels) in [
            (Insert, AtLeastOnce, false, [AtLeastOnce; 4]),
            (
                Insert,
                EffectivelyOnce,
                true,
                [AtLeastOnce, AtLeastOnce, EffectivelyOnce, EffectivelyOnce],
            ),
            (Upsert, Convergent, false, [Convergent; 4]),
            (
                Upsert,
                EffectivelyOnce,
                true,
                [Convergent, Convergent, EffectivelyOnce, EffectivelyOnce],
            ),
            // Staged rows are complete or absent.
            (Overwrite, AtomicJob, false, [AtomicJob; 4]),
            (Insert, AtomicUnit, false, [AtomicUnit; 4]),
        ] {
            for (ability, expected) in
                [Volatile, Bounded, Replayable, Seekable].into_iter().zip(levels)
            {
                let (level, because) = level_of(mode, drafted, has_tokens, ability);
                assert_eq!(level, expected, "{mode:?}, {drafted:?}, {ability:?}: {because}");
            }
        }
    }

    #[test]
    fn the_reason_names_the_split_or_how_it_is_read() {
        let reason = |ability| level_of(WriteMode::Insert, EffectivelyOnce, true, ability).1;
        assert!(reason(Bounded).starts_with("the rows of the split `other` come in no order"));
        assert_eq!(reason(Seekable), "each split can be read from any position; as drafted");
        assert!(reason(Volatile).contains("`other` cannot be read again identically"));
    }
}
