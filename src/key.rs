//! API keys: drawn once, kept as a hash.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::{SysError, SysRng};
use sha2::{Digest, Sha256};

/// What a key begins with, so that scanners for leaked secrets can find it.
const PREFIX: &str = "gk_";

/// A new key: 256 bits from the operating system.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn generate() -> Result<String, SysError> {
    let mut secret = [0_u8; 32];
    SysRng.try_fill_bytes(&mut secret)?;
    Ok(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(secret)))
}

/// What is stored of a key. A plain hash is enough: 256 random bits can't be guessed, unlike a password.
#[must_use]
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_fit_a_header() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one, two);
        assert_ne!(hash(&one), hash(&two));
        assert_eq!(one.len(), PREFIX.len() + 43);
        assert!(one.starts_with(PREFIX) && one.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'));
    }

    #[test]
    fn the_hash_is_sha_256() {
        assert_eq!(hex::encode(hash("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
