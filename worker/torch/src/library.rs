//! Shared libraries that are opened at run time: a missing library or function is a value, never a panic, and a program that
//! uses none of it starts without them.
//!
//! Why not cudarc's bindings: with its run-time loading they panic where a library or a function is absent, and they choose the
//! library themselves.

use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};

/// A library that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LibraryError {
    /// None of the places has one that can be opened; the loader's reason of the first place that has a file, or of the last.
    #[error("{reason} (tried {tried})")]
    NotOpened {
        /// Paths, or names for the system's search, in order.
        tried: String,
        /// Of the system's loader.
        reason: String,
    },
    /// Opened, but not the right one.
    #[error("{library} has no function {function}: it is another library, or of too old a release")]
    NoFunction {
        /// Its path.
        library: String,
        /// The first that is missing.
        function: &'static str,
    },
}

/// Who sees the functions of a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Whoever asks this library.
    Own,
    /// The whole process, as if it had been linked.
    Process,
}

/// An open library. It stays open to the end of the process: those of CUDA have threads of their own.
pub(crate) struct OpenLibrary {
    library: ManuallyDrop<Library>,
    path: PathBuf,
}

impl OpenLibrary {
    /// Opens the first that can be opened: a path, or a bare name for the system's search.
    pub(crate) fn open(places: &[PathBuf], scope: Scope) -> Result<Self, LibraryError> {
        let flags = RTLD_NOW
            | match scope {
                Scope::Own => RTLD_LOCAL,
                Scope::Process => RTLD_GLOBAL,
            };
        let mut reason: Option<(bool, String)> = None;
        for place in places {
            // SAFETY: opening runs the library's initialisers. These are NVIDIA's, libtorch's or the tests' own, named by
            // us or by whoever runs the program; they are made to be loaded at run time and are never unloaded.
            match unsafe { Library::open(Some(place), flags) } {
                Ok(library) => {
                    return Ok(Self {
                        library: ManuallyDrop::new(library),
                        path: place.clone(),
                    });
                }
                Err(error) => {
                    let is_file = place.is_file();
                    if reason.as_ref().is_none_or(|(was_file, _)| !was_file) {
                        reason = Some((is_file, text_of(&error)));
                    }
                }
            }
        }
        let tried: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        Err(LibraryError::NotOpened {
            tried: tried.join(", "),
            reason: reason.map_or_else(|| "no place to look at".to_owned(), |(_, text)| text),
        })
    }

    /// The function of that name.
    ///
    /// # Safety
    /// `F` is the type of a function pointer, and that of the function of this name in every release of the library.
    pub(crate) unsafe fn function<F: Copy>(&self, name: &'static str) -> Result<F, LibraryError> {
        // SAFETY: the caller vouches for the type; an `Option` of a function pointer is as large and null where none is.
        let symbol = unsafe { self.library.get::<Option<F>>(name) };
        symbol
            .ok()
            .and_then(|symbol| *symbol)
            .ok_or_else(|| LibraryError::NoFunction {
                library: self.path.display().to_string(),
                function: name,
            })
    }

    /// As it was asked for.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The loader's own words, which name the file and what it lacks.
fn text_of(error: &libloading::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

/// Declares a table of a library's functions, with the one function that fills it from an open library.
macro_rules! functions {
    ($(#[$doc:meta])* $table:ident { $($field:ident = $symbol:literal: fn($($argument:ty),*) $(-> $result:ty)?;)+ }) => {
        $(#[$doc])*
        pub(super) struct $table {
            $(pub(super) $field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)+
        }

        impl $table {
            /// # Safety
            /// The library's functions of these names have these types.
            unsafe fn of(library: &$crate::library::OpenLibrary) -> Result<Self, $crate::library::LibraryError> {
                Ok(Self {
                    $(
                        // SAFETY: the caller promises it.
                        $field: unsafe { library.function($symbol) }?,
                    )+
                })
            }
        }
    };
}

pub(crate) use functions;

/// The folder of the libtorch that this process uses.
pub(crate) fn folder_of_libtorch() -> Option<PathBuf> {
    let mapped = std::fs::read_to_string("/proc/self/maps").ok()?;
    mapped
        .lines()
        .filter_map(|line| line.find('/').map(|at| &line[at..]))
        .find(|path| path.ends_with("/libtorch_cpu.so"))
        .and_then(|path| Path::new(path).parent())
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_an_error_that_says_where_it_was_looked_for() {
        let places = ["/nowhere/libnothing.so", "libnothing.so.7"].map(PathBuf::from);
        let Err(error) = OpenLibrary::open(&places, Scope::Own) else {
            panic!("there is no such library");
        };
        let text = error.to_string();
        assert!(
            text.contains("tried /nowhere/libnothing.so, libnothing.so.7"),
            "{text}"
        );
        assert!(text.contains("cannot open shared object file"), "{text}");
    }

    #[test]
    fn a_file_that_is_no_library_is_the_reason_and_not_the_absence_of_others() {
        let places = [
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
            "libnothing.so.7",
        ]
        .map(PathBuf::from);
        let Err(error) = OpenLibrary::open(&places, Scope::Own) else {
            panic!("a manifest is no library");
        };
        assert!(
            error.to_string().starts_with(places[0].to_str().unwrap()),
            "{error}"
        );
    }

    #[test]
    fn a_missing_function_is_an_error_with_its_name() {
        let library = OpenLibrary::open(&["libc.so.6".into()], Scope::Own).unwrap();
        // SAFETY: the type of getpid(2)'s wrapper.
        let getpid = unsafe { library.function::<unsafe extern "C" fn() -> i32>("getpid") }.unwrap();
        // SAFETY: it has no preconditions.
        assert_eq!(unsafe { getpid() }, std::process::id() as i32);
        // SAFETY: there is none of this name.
        let error = unsafe { library.function::<unsafe extern "C" fn()>("m2t_nothing") }.unwrap_err();
        assert!(error.to_string().contains("m2t_nothing"), "{error}");
    }

    #[test]
    fn libtorch_lies_in_a_folder() {
        tch::set_num_threads(1);
        assert!(folder_of_libtorch().unwrap().join("libtorch_cpu.so").is_file());
    }
}
