//! One JSON value as it is met in the text: scalars are kept, arrays and objects go to whoever expects them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// A JSON value, the contents of arrays and objects aside.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item<'de> {
    Null,
    Bool(bool),
    /// Written as an integer, or as a number that is one (`5.0`, `1e9`).
    Integer(i128),
    Float(f64),
    Text(Cow<'de, str>),
    Array,
    Object,
}

/// From here on not every integer is a float, so that a float no longer says which integer was meant.
const FIRST_INEXACT: f64 = 9_007_199_254_740_992.0;

impl Item<'_> {
    pub(super) fn integer<T: TryFrom<i128>>(&self) -> Option<T> {
        match self {
            Self::Integer(value) => T::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The value as a name of a node, which any scalar can be.
    pub(super) fn into_name(self) -> Option<Value> {
        match self {
            Self::Null => Some(Value::Null),
            Self::Bool(value) => Some(Value::Bool(value)),
            Self::Integer(value) => Number::from_i128(value).map(Value::Number),
            Self::Float(value) => Number::from_f64(value).map(Value::Number),
            Self::Text(text) => Some(Value::String(text.into_owned())),
            Self::Array | Self::Object => None,
        }
    }
}

/// As an error shows it: short, whatever was sent.
impl fmt::Display for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(text) => write!(f, "{:?}", shortened(text)),
            Self::Array => f.write_str("an array"),
            Self::Object => f.write_str("an object"),
        }
    }
}

/// The beginning of a text that may be of any length, to be shown in a message.
pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

/// What to do with a JSON value of each shape. Whatever is not expected ends in `item`, where an error can name it.
pub(super) trait Expect<'de>: Sized {
    type Out;

    fn item(self, item: Item<'de>) -> Self::Out;

    fn array<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Out, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.item(Item::Array))
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Out, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.item(Item::Object))
    }
}

/// Reads a value by its expectation.
pub(super) struct Read<E>(pub(super) E);

impl<'de, E: Expect<'de>> DeserializeSeed<'de> for Read<E> {
    type Value = E::Out;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<E::Out, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, E: Expect<'de>> Visitor<'de> for Read<E> {
    type Value = E::Out;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<X: Error>(self) -> Result<E::Out, X> {
        Ok(self.0.item(Item::Null))
    }

    fn visit_bool<X: Error>(self, value: bool) -> Result<E::Out, X> {
        Ok(self.0.item(Item::Bool(value)))
    }

    fn visit_i64<X: Error>(self, value: i64) -> Result<E::Out, X> {
        Ok(self.0.item(Item::Integer(value.into())))
    }

    fn visit_u64<X: Error>(self, value: u64) -> Result<E::Out, X> {
        Ok(self.0.item(Item::Integer(value.into())))
    }

    fn visit_f64<X: Error>(self, value: f64) -> Result<E::Out, X> {
        let exact = value.fract() == 0.0 && value.abs() < FIRST_INEXACT;
        Ok(self.0.item(if exact { Item::Integer(value as i128) } else { Item::Float(value) }))
    }

    fn visit_str<X: Error>(self, text: &str) -> Result<E::Out, X> {
        Ok(self.0.item(Item::Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_borrowed_str<X: Error>(self, text: &'de str) -> Result<E::Out, X> {
        Ok(self.0.item(Item::Text(Cow::Borrowed(text))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<E::Out, A::Error> {
        self.0.array(array)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<E::Out, A::Error> {
        self.0.object(object)
    }
}

/// Expects nothing in particular.
pub(super) struct Anything;

impl<'de> Expect<'de> for Anything {
    type Out = Item<'de>;

    fn item(self, item: Item<'de>) -> Item<'de> {
        item
    }
}
