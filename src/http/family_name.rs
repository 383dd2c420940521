//! Names that families can have.

use serde::Deserialize;

const MAX_NAME_BYTES: usize = 63;

/// A name that a family can have: `^[a-z0-9][a-z0-9._-]{0,62}$`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct FamilyName(String);

impl FamilyName {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for FamilyName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        let first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if name.len() <= MAX_NAME_BYTES && name.bytes().all(rest) && name.as_bytes().first().is_some_and(first) {
            Ok(Self(name))
        } else {
            Err(format!(
                "a family's name has 1 to {MAX_NAME_BYTES} of a-z, 0-9, `.`, `_` and `-`, the first a letter or digit"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FamilyName, MAX_NAME_BYTES};

    #[test]
    fn names_are_the_tables_names() {
        let longest = "a".repeat(MAX_NAME_BYTES);
        for good in ["a", "0", "aids-0", "a.b_c-d", longest.as_str()] {
            assert!(FamilyName::try_from(good.to_owned()).is_ok(), "{good}");
        }
        let too_long = "a".repeat(MAX_NAME_BYTES + 1);
        for bad in ["", "-a", ".a", "_a", "A", "a b", "a/b", "é", "a\n", too_long.as_str()] {
            assert!(FamilyName::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
