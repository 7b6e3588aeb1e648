//! Which libtorch this is, for `--version`.

use std::ffi::c_char;
use std::ptr;

use crate::shim::{checked, m2t_libtorch, taken};

/// The libtorch this program uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Libtorch {
    /// Its release, as of its headers: "2.11.0".
    pub release: String,
    /// The instruction set its kernels use on this processor: "AVX2", "AVX512", "DEFAULT". Another one, other bits.
    pub instruction_set: String,
}

/// Asks libtorch. Touches no device, so that it may precede the loading of CUDA.
pub fn libtorch() -> Libtorch {
    let (mut release, mut instruction_set): (*mut c_char, *mut c_char) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: both pointers are to live locals that the entry writes once.
    let answer = checked(unsafe { m2t_libtorch(&raw mut release, &raw mut instruction_set) });
    answer.expect("copying two short texts does not fail");
    // SAFETY: on success both are from strdup(3), ours, and used here only.
    unsafe {
        Libtorch {
            release: taken(release),
            instruction_set: taken(instruction_set),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtorch_has_a_release_and_an_instruction_set() {
        let libtorch = libtorch();
        let numbers: Vec<&str> = libtorch.release.split('.').collect();
        assert!(
            numbers.len() >= 3 && numbers[0].parse::<u32>().is_ok(),
            "{libtorch:?}"
        );
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
        assert!(
            !libtorch.instruction_set.is_empty() && libtorch.instruction_set.chars().all(is_name),
            "{libtorch:?}"
        );
    }
}
