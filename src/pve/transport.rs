//! How a request gets to Proxmox and its answer back: over HTTPS ([`super::client`]), or straight into a simulated
//! cluster in the same process, which is how tests run on a paused clock.

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};

use super::Upload;
use crate::error::Error;

/// The URI is absolute (`https://host:8006/api2/json/…`); the answer's reason phrase, where it is not the standard one,
/// is a [`hyper::ext::ReasonPhrase`] among its extensions.
pub trait Transport: Send + Sync {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, SendError>>;

    /// As [`Transport::send`], with a body that is read from disk while it is sent.
    fn upload(&self, _request: Request<Upload>) -> BoxFuture<'_, Result<Response<Bytes>, SendError>> {
        Box::pin(async { Err(SendError::NotReady(Error::internal("this transport sends no files"))) })
    }
}

/// Why there is no answer. The difference decides whether a write may be sent again.
#[derive(Debug, Clone)]
pub enum SendError {
    /// Nothing reached the server: no connection, or TLS failed before the request was sent.
    NeverSent(String),
    /// The server's certificate was refused; nothing was sent. With the SHA-256 of what it presented (`AB:CD:…`).
    Certificate { message: String, presented: String },
    /// Sent, at least in part, and no answer: it may have been processed.
    Lost(String),
    /// Sent, and no answer within the time limit: it may be running still.
    TimedOut(String),
    /// Answered, with more than any answer of the API holds; processed, and not read to the end.
    TooLarge(String),
    /// Nothing was tried: the transport itself cannot be set up (an unreadable CA file).
    NotReady(Error),
}
