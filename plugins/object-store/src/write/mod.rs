//! The writing side, from rows to published objects.
//!
//! | module | what it holds |
//! |---|---|
//! | `options` | what a job says of it |
//! | `template` | names of objects |
//! | `partition` | which row goes to which partition |
//! | `object` | one object: encoder, compression, chunk |
//! | `upload` | its bytes on their way, in parts |
//! | `task` | a task's objects: rolling, partitions, chunks |
//! | `stage` | what a run keeps beside the output until it is over |
//! | `target` | where it all goes, and how that looked before |
//! | `manifest` | what is published, and by which run |
//! | `publish` | the commit, which can be repeated after any step |
//! | `withdraw` | the way back: abort |
//! | `sweep` | what other runs have left, and what of it may go |
//! | `abreast` | many requests, some at a time |
//! | `place` | the seam to the stores; `bucket` and `folder` are two |

mod abreast;
mod bucket;
mod folder;
mod manifest;
mod object;
pub(crate) mod options;
mod partition;
mod place;
mod publish;
mod stage;
mod sweep;
mod target;
mod task;
mod template;
mod upload;
mod withdraw;

use transload_plugin_api::{Error, ErrorKind, Result};

pub(crate) use self::{
    bucket::BucketPlace,
    folder::FolderPlace,
    manifest::Manifest,
    partition::Partitioner,
    place::{Gate, Place},
    publish::{Patience, Publication, is_token_of},
    stage::{Before, Stage},
    sweep::{leftovers, published_by_others, sweep},
    target::Target,
    task::{ObjectTask, Order, Rolling},
    template::Template,
    upload::Sending,
    withdraw::withdraw,
};

/// Digits of a hash, or of any bytes.
fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 128 random bits, by which nothing is taken for ours that is not.
fn random_word() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(ErrorKind::Other, "no random numbers from the system").caused_by(&error)
    })?;
    Ok(hexadecimal(&bytes))
}
