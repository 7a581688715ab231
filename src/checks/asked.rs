//! The answers that one examination of a plan needs: each GET is sent once, however many looks want it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use serde::de::DeserializeOwned;

use crate::{
    error::{Error, Result},
    pve::{Listing, Reader, Request, from_slice},
};

type Answer<'a> = Shared<BoxFuture<'a, Result<Bytes>>>;

/// A reader that remembers.
pub struct Asked<'a> {
    pve: Reader<'a>,
    answers: Mutex<HashMap<String, Answer<'a>>>,
}

impl<'a> Asked<'a> {
    pub fn new(pve: Reader<'a>) -> Self {
        Self { pve, answers: Mutex::default() }
    }

    /// Who asks: `user@realm` or `user@realm!token`.
    pub fn who(&self) -> String {
        self.pve.who()
    }

    /// The `data` at a path.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn get<T: DeserializeOwned>(&self, path: impl Into<String>) -> Result<T> {
        self.request(Request::get(path)).await
    }

    /// As [`Asked::get`], with parameters.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn request<T: DeserializeOwned>(&self, request: Request) -> Result<T> {
        let key = format!("{}?{}", request.path, request.encoded());
        let pve = self.pve;
        let answer = {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            let ask = || async move { pve.fetch(&request).await }.boxed().shared();
            answers.entry(key).or_insert_with(ask).clone()
        };
        let body = answer.await?;
        let listing: Listing<T> = from_slice(&body).map_err(|e| Error::internal(e.to_string()))?;
        Ok(listing.data)
    }
}
