//! The plugin that the conformance suite is tested with, as a library. `SHELF_DEFECT` names the mistake
//! that it has.
#![allow(clippy::unwrap_used, dead_code, reason = "shared with the suite's own tests")]

#[path = "../../plugin-api/tests/conformance/shelf.rs"]
mod shelf;

use shelf::{Defect, ShelfPlugin};
use transload_plugin_api::{Descriptor, Host, Options, Plugin, Reader, Result, Writer};

struct Shelf;

transload_plugin_api::export_plugin!(Shelf);

impl Shelf {
    fn plugin(&self) -> ShelfPlugin {
        let defect = match std::env::var("SHELF_DEFECT").as_deref() {
            Ok("rounds") => Defect::RoundsOnWriting,
            Ok("panics") => Defect::PanicsOnReceipt,
            Ok("leaks") => Defect::LeavesFilesOpen,
            Ok("drafts") => Defect::DraftsWithoutKey,
            Ok("waits") => Defect::WaitsOnWhenStopped,
            _ => Defect::None,
        };
        ShelfPlugin { defect }
    }
}

impl Plugin for Shelf {
    fn descriptor(&self) -> Descriptor {
        self.plugin().descriptor()
    }

    fn reader(&self, options: Options, host: Host) -> Result<Box<dyn Reader>> {
        self.plugin().reader(options, host)
    }

    fn writer(&self, options: Options, host: Host) -> Result<Box<dyn Writer>> {
        self.plugin().writer(options, host)
    }
}
