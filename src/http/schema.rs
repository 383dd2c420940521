//! How the core's own words look in the contract. The core knows nothing of it.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::detector::Tail;
use crate::graph::split::Split;
use crate::model::Kind;
use crate::model::device::DeviceChoice;

/// A schema of a closed set of words, spelt as the type serialises.
macro_rules! word_schema {
    ($type:ty, $name:literal, $description:literal, $words:expr) => {
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let words = ObjectBuilder::new().schema_type(Type::String).description(Some($description));
                words.enum_values(Some($words)).into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    };
}

word_schema!(Kind, "Kind", "A kind of detector.", Kind::ALL.map(Kind::as_str));
word_schema!(Split, "Split", "A part of a family's graphs.", Split::ALL.map(Split::as_str));
word_schema!(Tail, "Tail", "Which deviations count as anomalous.", ["two-sided", "upper"]);

impl PartialSchema for DeviceChoice {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^(auto|cpu|cuda(:[0-9]{1,3})?)$"));
        text.description(Some(
            "Where to compute: `auto`, `cpu`, `cuda`, or `cuda:N` for another device than the first.",
        ))
        .examples(["auto", "cpu", "cuda", "cuda:1"])
        .into()
    }
}

impl ToSchema for DeviceChoice {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Device")
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;

    fn documented<T: ToSchema + DeserializeOwned>() {
        let schema = serde_json::to_value(T::schema()).unwrap();
        let words = schema["enum"].as_array().unwrap();
        assert!(!words.is_empty());
        for word in words {
            assert!(serde_json::from_value::<T>(word.clone()).is_ok(), "{} does not read {word}", T::name());
        }
    }

    #[test]
    fn every_word_documented_is_one_that_is_read() {
        documented::<Kind>();
        documented::<Split>();
        documented::<Tail>();
    }
}
