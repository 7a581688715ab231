//! Answers that come packed although nobody asked for it: the journal of a node is piped through gzip.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{Response, header};

/// What is larger unpacked is no answer of the API.
const MOST: u64 = 64 << 20;

/// The body of an answer as it was before it was packed.
///
/// # Errors
/// It is damaged, or larger than any answer of the API.
pub fn unpacked(answer: Response<Bytes>) -> io::Result<Bytes> {
    let packed = answer.headers().get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
    let body = answer.into_body();
    if !packed {
        return Ok(body);
    }
    let mut whole = Vec::new();
    MultiGzDecoder::new(&*body).take(MOST + 1).read_to_end(&mut whole)?;
    if whole.len() as u64 > MOST {
        return Err(io::Error::other(format!("the answer is larger than {} MiB", MOST >> 20)));
    }
    Ok(whole.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn answer(body: &[u8]) -> Response<Bytes> {
        let mut answer = Response::new(Bytes::copy_from_slice(body));
        answer.headers_mut().insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
        answer
    }

    #[test]
    fn what_is_packed_is_unpacked_and_what_is_damaged_is_an_error() -> io::Result<()> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"{\"data\":[]}")?;
        let packed = packed.finish()?;
        assert_eq!(unpacked(answer(&packed))?, "{\"data\":[]}");
        assert!(unpacked(answer(&packed[..packed.len() - 12])).is_err());
        assert_eq!(unpacked(Response::new(Bytes::from_static(b"plain")))?, "plain");
        Ok(())
    }
}
