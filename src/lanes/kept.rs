//! Requests as a record keeps them, secrets included: what is written by this is sealed before it touches a disk.

use http::Method;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::pve::{Param, Request};

#[derive(Serialize, Deserialize)]
struct Kept {
    method: String,
    path: String,
    /// Name, value, whether it is a secret.
    params: Vec<(String, String, bool)>,
}

fn kept(request: &Request) -> Kept {
    let params = request.params.iter().map(|(key, value)| match value {
        Param::Plain(value) => (key.to_string(), value.clone(), false),
        Param::Secret(value) => (key.to_string(), value.clone(), true),
    });
    Kept { method: request.method.to_string(), path: request.path.clone(), params: params.collect() }
}

fn request(kept: Kept) -> Result<Request, &'static str> {
    let method: Method = kept.method.parse().map_err(|_| "no method of HTTP")?;
    let fill = |request: Request, (key, value, secret)| match secret {
        true => request.secret(key, value),
        false => request.param(key, value),
    };
    Ok(kept.params.into_iter().fold(Request::new(method, kept.path), fill))
}

/// For one that may not be there.
pub mod maybe {
    use super::*;

    pub fn serialize<S: Serializer>(one: &Option<Request>, to: S) -> Result<S::Ok, S::Error> {
        one.as_ref().map(kept).serialize(to)
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Request>, D::Error> {
        Option::<Kept>::deserialize(from)?.map(request).transpose().map_err(D::Error::custom)
    }
}

/// For several.
pub mod all {
    use super::*;

    pub fn serialize<S: Serializer>(all: &[Request], to: S) -> Result<S::Ok, S::Error> {
        all.iter().map(kept).collect::<Vec<_>>().serialize(to)
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Request>, D::Error> {
        Vec::<Kept>::deserialize(from)?.into_iter().map(request).collect::<Result<_, _>>().map_err(D::Error::custom)
    }
}
