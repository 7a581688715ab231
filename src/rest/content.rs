//! Answers that stay the same for a while: packed for whom can unpack them, and not sent again to whom has them.

use std::io::{self, Read, Write};

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{
        ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use sha2::{Digest, Sha256};

use super::problems;
use crate::{error::Error, key::hex, web::taken};

/// Something to be served.
#[derive(Clone)]
pub struct Content {
    media_type: &'static str,
    body: Bytes,
    /// The body is packed with gzip.
    packed: bool,
    /// Another for every other content.
    tag: String,
}

impl Content {
    pub fn new(media_type: &'static str, body: impl Into<Bytes>, packed: bool) -> Self {
        let body = body.into();
        // Weak: packed or not, it is the same.
        let tag = format!("W/\"{}\"", hex(&Sha256::digest(&body)[..8]));
        Self { media_type, body, packed, tag }
    }

    /// The answer to a request with these headers.
    pub fn answer(&self, asked: &HeaderMap) -> Response {
        let headers = [
            // Asked again each time, and answered in a few bytes where it is the same.
            (CACHE_CONTROL, "private, no-cache"),
            (VARY, "accept-encoding"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (ETAG, &self.tag),
        ];
        let known = asked.get_all(IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
        if known.flat_map(|text| text.split(',')).map(str::trim).any(|tag| tag == self.tag || tag == "*") {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        let packs = taken(asked, ACCEPT_ENCODING).any(|encoding| encoding == "gzip");
        let body = match (self.packed, packs) {
            (true, false) => unpack(&self.body),
            (false, true) => pack(&self.body),
            _ => Ok(self.body.clone()),
        };
        let body = match body {
            Ok(body) => body,
            Err(e) => return problems::problem(&Error::internal(format!("cannot pack: {e}"))).into_response(),
        };
        let mut response = (headers, [(CONTENT_TYPE, self.media_type)], body).into_response();
        if packs {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

fn pack(body: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish().map(Bytes::from)
}

fn unpack(body: &[u8]) -> io::Result<Bytes> {
    let mut whole = Vec::new();
    GzDecoder::new(body).read_to_end(&mut whole)?;
    Ok(whole.into())
}
