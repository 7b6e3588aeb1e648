//! A serde deserializer over TOML values whose errors stay data: at which key, and of which kind. What sentence they become
//! is decided elsewhere; the known keys and names come from the types that are read, so no second list of them exists.

use std::fmt;

use serde::de::value::SeqDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use toml::Value;

use super::layers::join;

/// Why a table could not be read.
#[derive(Debug)]
pub(super) struct Misread {
    /// The key, with dots for tables.
    pub(super) key: String,
    /// What is wrong there.
    pub(super) fault: Fault,
}

/// What can be wrong at a key.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing has this key.
    UnknownKey,
    /// The value is none of these names.
    UnknownName(&'static [&'static str]),
    /// The value is of another type, or outside what the type can hold.
    Type,
    /// Anything else, in words.
    Other(String),
}

impl Misread {
    fn here(fault: Fault) -> Self {
        Self {
            key: String::new(),
            fault,
        }
    }

    fn within(mut self, key: &str) -> Self {
        self.key = if self.key.is_empty() {
            key.to_owned()
        } else {
            join(key, &self.key)
        };
        self
    }
}

impl de::Error for Misread {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::here(Fault::Other(message.to_string()))
    }

    fn invalid_type(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::here(Fault::Type)
    }

    fn invalid_value(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::here(Fault::Type)
    }

    fn invalid_length(_: usize, _: &dyn Expected) -> Self {
        Self::here(Fault::Type)
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::here(Fault::UnknownName(known))
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self::here(Fault::UnknownKey).within(field)
    }
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.key, self.fault)
    }
}

impl std::error::Error for Misread {}

/// A TOML value to be read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a Value);

impl<'de> IntoDeserializer<'de, Misread> for Reader<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Misread;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misread> {
        match self.0 {
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(yes) => visitor.visit_bool(*yes),
            // No key takes one; as text it is refused like any other text.
            Value::Datetime(date) => visitor.visit_string(date.to_string()),
            Value::Array(values) => {
                let mut elements = SeqDeserializer::new(values.iter().map(Reader));
                let read = visitor.visit_seq(&mut elements)?;
                elements.end()?;
                Ok(read)
            }
            Value::Table(table) => visitor.visit_map(Entries {
                entries: table.iter(),
                next: None,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misread> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misread> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            _ => Err(Misread::here(Fault::UnknownName(names))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The entries of a table, each error with its key.
struct Entries<'a> {
    entries: toml::map::Iter<'a, String, Value>,
    next: Option<(&'a str, &'a Value)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Misread;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misread> {
        self.next = self.entries.next().map(|(key, value)| (key.as_str(), value));
        let Some((key, _)) = self.next else {
            return Ok(None);
        };
        seed.deserialize(de::value::BorrowedStrDeserializer::new(key))
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misread> {
        let (key, value) = self.next.take().expect("serde asks for a key before its value");
        seed.deserialize(Reader(value)).map_err(|error| error.within(key))
    }
}
