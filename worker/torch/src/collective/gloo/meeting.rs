//! Where the devices of a group meet: a store of c10d. It is used while the group is made and not after it.

use std::net::{IpAddr, SocketAddr};
use std::ptr;
use std::time::Duration;

use super::milliseconds;
use crate::TorchError;
use crate::shim::{RawStore, c_string, checked, m2t_store_free, m2t_store_join, m2t_store_serve};

/// The store at which a group meets. The first device serves one on a free port and publishes its address.
pub struct Meeting {
    pub(super) store: *mut RawStore,
    address: SocketAddr,
}

// SAFETY: c10d stores lock their own state and are bound to no thread.
unsafe impl Send for Meeting {}
// SAFETY: as above; `&self` only reads the address.
unsafe impl Sync for Meeting {}

impl Meeting {
    /// Opens a meeting on a free port of this machine; the others reach it at `host`.
    pub fn open(host: IpAddr, timeout: Duration) -> Result<Self, TorchError> {
        let (mut store, mut port) = (ptr::null_mut(), 0);
        let name = c_string(&host.to_string());
        // SAFETY: `name` lives through the call; both out-pointers are valid for writes and are set on success.
        checked(unsafe {
            m2t_store_serve(
                name.as_ptr(),
                milliseconds(timeout),
                &raw mut port,
                &raw mut store,
            )
        })?;
        Ok(Self {
            store,
            address: SocketAddr::new(host, port),
        })
    }

    /// Joins the meeting another device opened.
    pub fn join(address: SocketAddr, timeout: Duration) -> Result<Self, TorchError> {
        let mut store = ptr::null_mut();
        let host = c_string(&address.ip().to_string());
        // SAFETY: as in `open`.
        checked(unsafe {
            m2t_store_join(
                host.as_ptr(),
                address.port(),
                milliseconds(timeout),
                &raw mut store,
            )
        })?;
        Ok(Self { store, address })
    }

    /// Where the others find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        // SAFETY: `store` came from the shim, is freed here only, and a group that uses it holds a count of its own.
        unsafe { m2t_store_free(self.store) }
    }
}
