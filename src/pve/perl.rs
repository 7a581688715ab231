//! Reads JSON as Perl writes it. Proxmox sends the same field as a number here and as a string there; this wraps any
//! serde deserializer so that typed structs take either, streaming, without a tree of values in between.
//!
//! What is taken: a string of digits (or a float without fraction) where an integer is wanted; a string where a float
//! is wanted; `0`, `1`, and the words on/off, yes/no, true/false where a boolean is wanted; a number where text is
//! wanted, with the digits that Perl printed; `null` as an absent option, an empty list or an empty map.
//!
//! Limits, which are serde's: what goes through `#[serde(flatten)]`, `untagged` or an internally tagged enum is
//! buffered by serde and read strictly. Flatten only a `Map<String, Value>`, for the fields that have no name.

use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Unexpected, VariantAccess,
    Visitor, value::UnitDeserializer,
};

/// Deserializes `T` from bytes of JSON, tolerantly.
///
/// # Errors
/// Where it is no JSON, or is no `T` even so.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = T::deserialize(Perl(&mut json))?;
    json.end()?;
    Ok(value)
}

/// The tolerant wrapper: around a deserializer, a visitor, an access or a seed, each handing itself down.
pub struct Perl<I>(pub I);

/// Around a visitor that wants a number, a boolean or text, whatever the JSON holds.
struct Scalar<V> {
    visitor: V,
    wanted: Wanted,
}

#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    Bool,
    Integer,
    Float,
    Text,
}

macro_rules! scalars {
    ($($method:ident $wanted:ident,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.deserialize_any(Scalar { visitor, wanted: Wanted::$wanted })
        }
    )*};
}

macro_rules! passed_on {
    ($($method:ident($($arg:ident: $type:ty),*),)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($arg,)* Perl(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Perl<D> {
    type Error = D::Error;

    scalars! {
        deserialize_bool Bool,
        deserialize_i8 Integer, deserialize_i16 Integer, deserialize_i32 Integer, deserialize_i64 Integer, deserialize_i128 Integer,
        deserialize_u8 Integer, deserialize_u16 Integer, deserialize_u32 Integer, deserialize_u64 Integer, deserialize_u128 Integer,
        deserialize_f32 Float, deserialize_f64 Float,
        deserialize_char Text, deserialize_str Text, deserialize_string Text,
    }

    passed_on! {
        deserialize_any(),
        deserialize_bytes(),
        deserialize_byte_buf(),
        deserialize_option(),
        deserialize_unit(),
        deserialize_unit_struct(name: &'static str),
        deserialize_newtype_struct(name: &'static str),
        deserialize_tuple(len: usize),
        deserialize_tuple_struct(name: &'static str, len: usize),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
        deserialize_enum(name: &'static str, variants: &'static [&'static str]),
        deserialize_identifier(),
        deserialize_ignored_any(),
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Nullable { visitor, list: true })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Nullable { visitor, list: false })
    }
}

macro_rules! same {
    ($($method:ident($type:ty),)*) => {$(
        fn $method<E: serde::de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Perl<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    same! {
        visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64),
        visit_str(&str), visit_borrowed_str(&'de str), visit_string(String),
        visit_bytes(&[u8]), visit_borrowed_bytes(&'de [u8]), visit_byte_buf(Vec<u8>),
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Perl(inner))
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Perl(inner))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Perl(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Perl(fields))
    }
    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Perl(variant))
    }
}

impl<'de, V: Visitor<'de>> Scalar<V> {
    /// What Perl says as text where it means a number or a boolean; `None` where the text is no such thing.
    fn take_text<E: serde::de::Error>(self, text: &str) -> Result<V::Value, E> {
        match self.wanted {
            Wanted::Text => self.visitor.visit_str(text),
            Wanted::Bool => match truth(text) {
                Some(value) => self.visitor.visit_bool(value),
                None => Err(E::invalid_value(Unexpected::Str(text), &"a boolean (0 or 1)")),
            },
            Wanted::Integer => {
                let text = text.trim();
                if let Ok(value) = text.parse::<u64>() {
                    self.visitor.visit_u64(value)
                } else if let Ok(value) = text.parse::<i64>() {
                    self.visitor.visit_i64(value)
                } else if let Ok(value) = text.parse::<f64>() {
                    self.integral(value)
                } else {
                    Err(E::invalid_value(Unexpected::Str(text), &"a whole number"))
                }
            }
            Wanted::Float => match text.trim().parse::<f64>() {
                Ok(value) => self.visitor.visit_f64(value),
                Err(_) => Err(E::invalid_value(Unexpected::Str(text), &"a number")),
            },
        }
    }

    fn integral<E: serde::de::Error>(self, value: f64) -> Result<V::Value, E> {
        // 2^53: beyond it a float says nothing about the last digits.
        if value.fract() != 0.0 || value.abs() > 9_007_199_254_740_992.0 {
            return Err(E::invalid_value(Unexpected::Float(value), &"a whole number"));
        }
        if value < 0.0 { self.visitor.visit_i64(value as i64) } else { self.visitor.visit_u64(value as u64) }
    }
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "on" | "yes" | "true" => Some(true),
        "0" | "" | "off" | "no" | "false" => Some(false),
        _ => None,
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Scalar<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<V::Value, E> {
        match self.wanted {
            Wanted::Bool => self.visitor.visit_bool(value),
            Wanted::Text => self.visitor.visit_str(if value { "1" } else { "0" }),
            Wanted::Integer => self.visitor.visit_u64(value.into()),
            Wanted::Float => self.visitor.visit_f64(f64::from(u8::from(value))),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<V::Value, E> {
        match self.wanted {
            Wanted::Bool if value <= 1 => self.visitor.visit_bool(value == 1),
            Wanted::Bool => Err(E::invalid_value(Unexpected::Unsigned(value), &"a boolean (0 or 1)")),
            Wanted::Text => self.visitor.visit_string(value.to_string()),
            Wanted::Integer | Wanted::Float => self.visitor.visit_u64(value),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<V::Value, E> {
        match self.wanted {
            Wanted::Bool => Err(E::invalid_value(Unexpected::Signed(value), &"a boolean (0 or 1)")),
            Wanted::Text => self.visitor.visit_string(value.to_string()),
            Wanted::Integer | Wanted::Float => self.visitor.visit_i64(value),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<V::Value, E> {
        match self.wanted {
            Wanted::Float => self.visitor.visit_f64(value),
            Wanted::Text => self.visitor.visit_string(value.to_string()),
            Wanted::Integer => self.integral(value),
            Wanted::Bool if value == 0.0 || value == 1.0 => self.visitor.visit_bool(value == 1.0),
            Wanted::Bool => Err(E::invalid_value(Unexpected::Float(value), &"a boolean (0 or 1)")),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<V::Value, E> {
        self.take_text(text)
    }
    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<V::Value, E> {
        if self.wanted == Wanted::Text { self.visitor.visit_borrowed_str(text) } else { self.take_text(text) }
    }
    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<V::Value, E> {
        if self.wanted == Wanted::Text { self.visitor.visit_string(text) } else { self.take_text(&text) }
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_seq(Perl(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Perl(fields))
    }
}

/// Around a visitor that wants a list or a map, where Proxmox may say `null` for an empty one.
struct Nullable<V> {
    visitor: V,
    list: bool,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Nullable<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        if self.list { self.visitor.visit_seq(Empty::<E>::new()) } else { self.visitor.visit_map(Empty::<E>::new()) }
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_seq(Perl(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Perl(fields))
    }
}

/// No items and no fields.
struct Empty<E>(std::marker::PhantomData<E>);

impl<E> Empty<E> {
    fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<'de, E: serde::de::Error> SeqAccess<'de> for Empty<E> {
    type Error = E;
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, _seed: S) -> Result<Option<S::Value>, E> {
        Ok(None)
    }
}

impl<'de, E: serde::de::Error> MapAccess<'de> for Empty<E> {
    type Error = E;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, _seed: K) -> Result<Option<K::Value>, E> {
        Ok(None)
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, E> {
        seed.deserialize(UnitDeserializer::new())
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Perl<A> {
    type Error = A::Error;
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Perl(seed))
    }
    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Perl<A> {
    type Error = A::Error;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Perl(seed))
    }
    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Perl<A> {
    type Error = A::Error;
    type Variant = Perl<A::Variant>;
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.0.variant_seed(seed)?;
        Ok((value, Perl(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Perl<A> {
    type Error = A::Error;
    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(Perl(seed))
    }
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, Perl(visitor))
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, Perl(visitor))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Perl<S> {
    type Value = S::Value;
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Perl(inner))
    }
}

#[cfg(test)]
mod tests;
