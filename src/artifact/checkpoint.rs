//! A checkpoint's file: the SHA-256 of its content, then the content.

use sha2::{Digest as _, Sha256};

use crate::train::Checkpoint;

const HASH_LENGTH: usize = 32;

pub(super) fn encode(checkpoint: &Checkpoint) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HASH_LENGTH + checkpoint.0.len());
    bytes.extend_from_slice(&Sha256::digest(&checkpoint.0));
    bytes.extend_from_slice(&checkpoint.0);
    bytes
}

/// None when the file is damaged: training then begins anew, which is slow but right.
pub(super) fn decode(bytes: &[u8]) -> Option<Checkpoint> {
    let (hash, content) = bytes.split_at_checked(HASH_LENGTH)?;
    (*hash == *Sha256::digest(content)).then(|| Checkpoint(content.to_vec()))
}
