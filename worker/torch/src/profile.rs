//! Where the time of libtorch's operations goes.

use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::TorchError;
use crate::shim::{checked, m2t_profile_begin, m2t_profile_end};

/// What one kind of operation took.
#[derive(Clone, Debug, PartialEq)]
pub struct Spent {
    /// Its name, as libtorch calls it: `aten::mkldnn_convolution`.
    pub name: String,
    /// Its own time in seconds, without that of operations inside it, on the threads that asked for it.
    pub seconds: f64,
    /// How often.
    pub calls: i64,
}

/// Does `work` and tells what all operations of the process took meanwhile, most first. One at a time.
///
/// # Errors
/// Libtorch's; none is known.
pub fn profiled<T>(work: impl FnOnce() -> T) -> Result<(T, Vec<Spent>), TorchError> {
    // SAFETY: the shim registers callbacks of its own; nothing of ours is shared.
    checked(unsafe { m2t_profile_begin() })?;
    let result = work();
    let mut table: Vec<Spent> = Vec::new();
    // SAFETY: `table` lives for the length of the call, which alone uses the pointer, on this thread.
    checked(unsafe { m2t_profile_end(add, (&raw mut table).cast()) })?;
    table.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    Ok((result, table))
}

extern "C" fn add(table: *mut c_void, name: *const c_char, seconds: f64, calls: i64) {
    let body = AssertUnwindSafe(|| {
        // SAFETY: `table` is `profiled`'s, borrowed for the call that calls back; `name` is a NUL-terminated string for this call.
        let (table, name) = unsafe { (&mut *table.cast::<Vec<Spent>>(), CStr::from_ptr(name)) };
        table.push(Spent {
            name: name.to_string_lossy().into_owned(),
            seconds,
            calls,
        });
    });
    if catch_unwind(body).is_err() {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::*;

    #[test]
    fn what_runs_meanwhile_is_told_and_what_runs_after_is_not() {
        let x = Tensor::from_slice(&[1f32, 2.0]);
        let (sum, table) = profiled(|| (&x + &x).double_value(&[1])).unwrap();
        assert_eq!(sum, 4.0);
        let add = table.iter().find(|spent| spent.name == "aten::add").unwrap();
        assert!(add.calls >= 1 && add.seconds >= 0.0, "{add:?}");
        let ((), table) = profiled(|| ()).unwrap();
        assert!(table.iter().all(|spent| spent.name != "aten::mul"), "{table:?}");
    }
}
