//! What the host provides to a reader or writer: secrets on request and the stop signal. The
//! host's [`Host`] crosses as a handle, from which the plugin's side makes a `Host` of its own.

use std::{str, sync::Arc};

use abi_stable::{
    prefix_type::WithMetadata,
    std_types::{ROption, RStr, RVec},
};
use zeroize::Zeroize;

use super::{
    guard::{Guarded, from_ffi},
    module::{
        FfiHost, FfiResult, FfiWaker, HostVtable, HostVtableRef, WakerVtable, WakerVtableRef,
    },
};
use crate::{Cancel, Error, Host, Result, Secret, Secrets};

// ------------------------------------------------------------------------------ the host's side

/// A host's services as the handle that crosses. The host's clone lives until the plugin's side
/// drops the handle.
pub(super) fn export(host: Host) -> FfiHost {
    FfiHost { data: Guarded::into_raw(host), vtable: HOST_VTABLE }
}

const HOST_VTABLE: HostVtableRef = {
    const TABLE: &WithMetadata<HostVtable> = &WithMetadata::new(HostVtable {
        drop: Guarded::<Host>::drop_handle,
        secret,
        is_cancelled,
        on_cancel,
    });
    HostVtableRef(TABLE.static_as_prefix())
};

unsafe extern "C" fn secret(data: *const (), key: RStr<'_>) -> FfiResult<ROption<RVec<u8>>> {
    let give = |host: &Host| {
        let secret = host.secret(key.as_str())?;
        Ok(secret.map(|secret| RVec::from(secret.expose().as_bytes())).into())
    };
    // SAFETY: `data` is from `export` and alive by the vtable's contract.
    unsafe { Guarded::<Host>::call(data, "secret", give) }
}

unsafe extern "C" fn is_cancelled(data: *const ()) -> bool {
    let look = |host: &Host| Ok(host.cancel().is_cancelled());
    // SAFETY: as above.
    unsafe { Guarded::<Host>::call(data, "is_cancelled", look) }.unwrap_or(false)
}

impl FfiWaker {
    fn wake(&self) {
        // SAFETY: the handle's functions belong to its data; it is alive.
        unsafe { self.vtable.wake()(self.data) }
    }
}

unsafe extern "C" fn on_cancel(data: *const (), waker: FfiWaker) {
    let register = |host: &Host| {
        host.cancel().on_cancel(move || waker.wake());
        Ok(())
    };
    // SAFETY: as above.
    let _ = unsafe { Guarded::<Host>::call(data, "on_cancel", register) };
}

// ---------------------------------------------------------------------------- the plugin's side

/// The plugin's own [`Host`] above the handle. Its signal is a local [`Cancel`] that a waker gives
/// when the host's signal is given, so checking it costs no call across the ABI.
pub(super) fn import(ffi: FfiHost) -> Host {
    let cancel = Cancel::new();
    let waker = FfiWaker { data: Guarded::into_raw(cancel.clone()), vtable: WAKER_VTABLE };
    // SAFETY: the handle's functions belong to its data; it is alive.
    unsafe { ffi.vtable.on_cancel()(ffi.data, waker) }
    Host::new(Arc::new(ForeignSecrets(ffi)), cancel)
}

const WAKER_VTABLE: WakerVtableRef = {
    const TABLE: &WithMetadata<WakerVtable> =
        &WithMetadata::new(WakerVtable { drop: Guarded::<Cancel>::drop_handle, wake });
    WakerVtableRef(TABLE.static_as_prefix())
};

unsafe extern "C" fn wake(data: *const ()) {
    let give = |cancel: &Cancel| {
        cancel.cancel();
        Ok(())
    };
    // SAFETY: `data` is from `import` and alive by the vtable's contract.
    let woken: Result<()> = from_ffi(unsafe { Guarded::<Cancel>::call(data, "wake", give) });
    if let Err(error) = woken {
        tracing::error!("{error}");
    }
}

/// Secrets through the handle, which it keeps alive.
struct ForeignSecrets(FfiHost);

impl Secrets for ForeignSecrets {
    fn secret(&self, key: &str) -> Result<Option<Secret>> {
        // SAFETY: the handle's functions belong to its data; it is alive.
        let bytes = unsafe { self.0.vtable.secret()(self.0.data, RStr::from_str(key)) };
        // The bytes are the host's allocation and ours to overwrite: converting them to a `Vec`
        // would copy them into ours and leave the original as it is.
        let Some(mut bytes) = from_ffi(bytes)?.into_option() else { return Ok(None) };
        let secret = str::from_utf8(&bytes)
            .map(Secret::new)
            .map_err(|_| Error::options(format!("the secret `{key}` is not UTF-8 text")));
        bytes.zeroize();
        secret.map(Some)
    }
}
