//! What a generation's first device makes and the others are handed: the id by which the devices of one group find each other.

use std::fmt;
use std::str::FromStr;

use super::NcclError;
use super::library::Library;

const N_BYTES: usize = 128;

/// NCCL's id of one group, opaque; written as 256 hexadecimal digits. Good for one group only.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct UniqueId([u8; N_BYTES]);

impl UniqueId {
    /// A fresh one. This process serves the devices that come with it, until the group is whole.
    ///
    /// # Errors
    /// When NCCL finds no network interface, say.
    pub fn fresh(library: &Library) -> Result<Self, NcclError> {
        let mut id = Self([0; N_BYTES]);
        // SAFETY: ncclUniqueId is 128 bytes, of alignment 1, and written once.
        let code = unsafe { (library.functions().unique_id)(&raw mut id) };
        library.checked("ncclGetUniqueId", code).map(|()| id)
    }
}

impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UniqueId({self})")
    }
}

impl FromStr for UniqueId {
    type Err = NcclError;

    fn from_str(text: &str) -> Result<Self, NcclError> {
        let is_hex = text.bytes().all(|digit| digit.is_ascii_hexdigit());
        if text.len() != 2 * N_BYTES || !is_hex {
            return Err(NcclError::NoUniqueId {
                n_characters: text.chars().count(),
            });
        }
        let mut id = [0; N_BYTES];
        for (byte, digits) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).expect("hexadecimal digits are ASCII");
            *byte = u8::from_str_radix(digits, 16).expect("two hexadecimal digits are a byte");
        }
        Ok(Self(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_from_its_text() {
        let id = UniqueId(std::array::from_fn(|i| (7 * i % 256) as u8));
        let text = id.to_string();
        assert_eq!(text.len(), 256);
        assert!(text.starts_with("00070e15"), "{text}");
        assert_eq!(text.parse::<UniqueId>().unwrap(), id);
        assert_eq!(text.to_uppercase().parse::<UniqueId>().unwrap(), id);
        for bad in [
            "",
            "127.0.0.1:4711",
            &text[1..],
            &text.replace('0', "g"),
            &"ä".repeat(128),
        ] {
            let error = bad.parse::<UniqueId>().unwrap_err().to_string();
            assert!(error.contains("256 hexadecimal digits"), "{error}");
        }
    }
}
