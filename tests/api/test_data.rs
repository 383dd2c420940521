//! Real datasets, which are not part of the repository.

use std::env;
use std::fs;
use std::path::PathBuf;

/// The archive `name` (such as `DD.zip`) from the folder `GRAPHKIN_TEST_DATA`, or else `../shared/data`.
///
/// `None`, said on standard error, where there is no such file, so that a test can pass over it.
///
/// # Panics
/// In continuous integration (`CI=true`), where the file must be there.
pub(crate) fn dataset(name: &str) -> Option<Vec<u8>> {
    let folder = env::var_os("GRAPHKIN_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let path = folder.join(name);
    match fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) if env::var("CI").is_ok_and(|value| value == "true") => panic!("{}: {error}", path.display()),
        Err(error) => {
            eprintln!("skipped, for want of {}: {error}", path.display());
            None
        }
    }
}
