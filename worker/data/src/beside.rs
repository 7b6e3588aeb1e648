//! Files that are written beside their place and get their name once they are whole.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

/// A new file in `folder`, whose name begins with `prefix` until it is renamed; gone if it never is. A temporary file is private
/// by default; this one is for everybody, as far as the umask allows.
pub(crate) fn create(folder: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(prefix)
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
}
