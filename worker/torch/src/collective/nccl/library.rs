//! `libnccl.so.2`: where it is found, which releases are refused, and its functions.

use std::ffi::{CStr, OsString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;

use super::NcclError;
use super::unique_id::UniqueId;
use crate::cuda::RawStream;
use crate::library::{OpenLibrary, Scope, folder_of_libtorch, functions};

/// Names another libnccl than the one beside libtorch.
pub const PATH_VARIABLE: &str = "M2T_NCCL";
/// NCCL's switch of a feature whose shared state outlives a group that is aborted: off where groups are made anew in place.
pub const NVLS_VARIABLE: &str = "NCCL_NVLS_ENABLE";

/// Results of NCCL that are told apart.
pub(super) const SUCCESS: c_int = 0;
pub(super) const IN_PROGRESS: c_int = 7;

#[repr(C)]
pub(super) struct RawComm {
    _opaque: [u8; 0],
}

/// The configuration of a communicator, as of NCCL 2.17; newer releases take it and fill in their own defaults.
#[repr(C)]
pub(super) struct Config {
    size: usize,
    magic: u32,
    version: u32,
    blocking: c_int,
    cga_cluster_size: c_int,
    min_ctas: c_int,
    max_ctas: c_int,
    net_name: *const c_char,
}

impl Config {
    /// Every call returns at once, and can be aborted.
    pub(super) fn nonblocking() -> Self {
        const UNDEFINED: c_int = c_int::MIN;
        Self {
            size: size_of::<Self>(),
            magic: 0xcafe_beef,
            version: LEAST.0.cast_unsigned(),
            blocking: 0,
            cga_cluster_size: UNDEFINED,
            min_ctas: UNDEFINED,
            max_ctas: UNDEFINED,
            net_name: ptr::null(),
        }
    }
}

functions! {
    /// Of nccl.h. The datatypes, operators and results are C enumerations.
    Functions {
        version = "ncclGetVersion": fn(*mut c_int) -> c_int;
        error_string = "ncclGetErrorString": fn(c_int) -> *const c_char;
        last_error = "ncclGetLastError": fn(*mut RawComm) -> *const c_char;
        unique_id = "ncclGetUniqueId": fn(*mut UniqueId) -> c_int;
        begin = "ncclCommInitRankConfig": fn(*mut *mut RawComm, c_int, UniqueId, c_int, *mut Config) -> c_int;
        state = "ncclCommGetAsyncError": fn(*mut RawComm, *mut c_int) -> c_int;
        all_reduce = "ncclAllReduce": fn(*const c_void, *mut c_void, usize, c_int, c_int, *mut RawComm, *mut RawStream) -> c_int;
        broadcast = "ncclBroadcast": fn(*const c_void, *mut c_void, usize, c_int, c_int, *mut RawComm, *mut RawStream) -> c_int;
        finalize = "ncclCommFinalize": fn(*mut RawComm) -> c_int;
        abort = "ncclCommAbort": fn(*mut RawComm) -> c_int;
        group_start = "ncclGroupStart": fn() -> c_int;
        group_end = "ncclGroupEnd": fn() -> c_int;
    }
}

/// A release of NCCL, as it counts: 22809 is 2.28.9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub i32);

/// The first with the configuration above.
const LEAST: Version = Version(21_700);
/// Releases in which an abort may end badly.
const BAD: [(Version, Version); 2] = [
    (Version(22_501), Version(22_501)),
    (Version(22_803), Version(22_808)),
];

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0 / 10_000, self.0 / 100 % 100, self.0 % 100)
    }
}

impl Version {
    /// Why it is refused, if it is.
    pub fn refusal(self) -> Option<String> {
        if self < LEAST {
            return Some(format!("is older than {LEAST}, the first that is of use here"));
        }
        let is_bad = BAD.iter().any(|(first, last)| (*first..=*last).contains(&self));
        is_bad.then(|| {
            "may hang or crash when a group is aborted, as 2.25.1 and 2.28.3 to 2.28.8 do".to_owned()
        })
    }
}

/// NCCL, open and of a release that will do.
pub struct Library {
    functions: Functions,
    version: Version,
}

impl Library {
    /// Opens the library that [`PATH_VARIABLE`] names; without it that beside libtorch, or the system's.
    ///
    /// # Errors
    /// When there is none, it is refused, or [`NVLS_VARIABLE`] isn't 0.
    pub fn load() -> Result<Self, NcclError> {
        check_nvls(std::env::var_os(NVLS_VARIABLE))?;
        Self::open(&places(
            std::env::var_os(PATH_VARIABLE),
            folder_of_libtorch().as_deref(),
        ))
    }

    /// Opens the library at the first of the places that has one.
    ///
    /// # Errors
    /// When there is none, or it is refused.
    pub fn open(places: &[PathBuf]) -> Result<Self, NcclError> {
        let library = OpenLibrary::open(places, Scope::Own).map_err(NcclError::NoLibrary)?;
        // SAFETY: the types are those of nccl.h, the same since 2.14.
        let functions = unsafe { Functions::of(&library) }.map_err(NcclError::NoLibrary)?;
        let mut opened = Self {
            functions,
            version: Version(0),
        };
        // SAFETY: the pointer is to a live local; the call touches no device.
        let code = unsafe { (opened.functions.version)(&raw mut opened.version.0) };
        opened.checked("ncclGetVersion", code)?;
        match opened.version.refusal() {
            None => Ok(opened),
            Some(reason) => Err(NcclError::Refused {
                version: opened.version,
                path: library.path().display().to_string(),
                reason,
            }),
        }
    }

    /// Its release.
    pub fn version(&self) -> Version {
        self.version
    }

    pub(super) fn functions(&self) -> &Functions {
        &self.functions
    }

    /// What a call returned, as a result. One that is in progress has not failed.
    pub(super) fn checked(&self, call: &'static str, code: c_int) -> Result<(), NcclError> {
        match code {
            SUCCESS | IN_PROGRESS => Ok(()),
            code => Err(NcclError::Call {
                call,
                message: self.message(code),
            }),
        }
    }

    fn message(&self, code: c_int) -> String {
        // SAFETY: both return NUL-terminated texts that outlive this copy; the last error is the thread's or the process's, and
        // its communicator is unused (nccl.h) and may be null.
        let (kind, detail) = unsafe {
            (
                text((self.functions.error_string)(code)),
                text((self.functions.last_error)(ptr::null_mut())),
            )
        };
        match detail.lines().next() {
            Some(detail) if !detail.trim().is_empty() => format!("{kind}: {}", detail.trim()),
            _ => kind,
        }
    }
}

/// # Safety
/// `pointer` is null or a NUL-terminated text that lives through the call.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return "no message".to_owned();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// Where to look: only at the path that was given; else where pip puts it beside torch, where older torch had it, and where the system
/// looks.
fn places(given: Option<OsString>, libtorch: Option<&Path>) -> Vec<PathBuf> {
    const NAME: &str = "libnccl.so.2";
    if let Some(path) = given.filter(|path| !path.is_empty()) {
        return vec![path.into()];
    }
    let beside = libtorch
        .into_iter()
        .flat_map(|folder| [folder.join("../../nvidia/nccl/lib").join(NAME), folder.join(NAME)]);
    beside.chain([NAME.into()]).collect()
}

fn check_nvls(value: Option<OsString>) -> Result<(), NcclError> {
    match value {
        Some(value) if value == "0" => Ok(()),
        _ => Err(NcclError::NvlsNotOff),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_bad_releases_are_refused() {
        for (version, is_refused) in [
            (2_804, true),
            (21_602, true),
            (21_700, false),
            (22_500, false),
            (22_501, true),
            (22_502, false),
            (22_802, false),
            (22_803, true),
            (22_808, true),
            (22_809, false),
            (23_004, false),
        ] {
            let refusal = Version(version).refusal();
            assert_eq!(refusal.is_some(), is_refused, "{}: {refusal:?}", Version(version));
        }
        assert_eq!(Version(22_809).to_string(), "2.28.9");
    }

    #[test]
    fn a_path_that_is_given_is_the_only_place() {
        let torch = Path::new("/opt/torch/lib");
        assert_eq!(
            places(Some("/x/libnccl.so.2".into()), Some(torch)),
            [Path::new("/x/libnccl.so.2")]
        );
        let expected = [
            "/opt/torch/lib/../../nvidia/nccl/lib/libnccl.so.2",
            "/opt/torch/lib/libnccl.so.2",
            "libnccl.so.2",
        ];
        assert_eq!(places(Some("".into()), Some(torch)), expected.map(PathBuf::from));
        assert_eq!(places(None, None), [Path::new("libnccl.so.2")]);
    }

    #[test]
    fn nvls_must_be_off() {
        assert_eq!(check_nvls(Some("0".into())), Ok(()));
        for value in [None, Some("1".into()), Some("".into())] {
            let error = check_nvls(value).unwrap_err().to_string();
            assert!(error.contains("NCCL_NVLS_ENABLE=0"), "{error}");
        }
    }

    #[test]
    fn the_configuration_is_laid_out_as_in_nccl_2_17() {
        assert_eq!(size_of::<Config>(), 40);
        assert_eq!(std::mem::offset_of!(Config, blocking), 16);
        assert_eq!(std::mem::offset_of!(Config, net_name), 32);
    }
}
