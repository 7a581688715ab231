//! The view of a cluster that tools are given: it reads what the tool declared, and cannot write.

use std::path::Path;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{Client, Listing, Request, Scope, error, perl};
use crate::{
    config::Endpoint,
    error::{Error, Kind, Result},
};

/// GETs only, each checked against the tool's list, each ended by the call's cancellation.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    client: &'a Client,
    scope: &'a Scope,
}

impl<'a> Reader<'a> {
    pub fn new(client: &'a Client, scope: &'a Scope) -> Self {
        Self { client, scope }
    }

    pub(crate) fn client(&self) -> &'a Client {
        self.client
    }

    pub fn scope(&self) -> &'a Scope {
        self.scope
    }

    /// The name of the cluster that is read.
    pub fn cluster(&self) -> &'a str {
        self.client.name()
    }

    /// Who asks: `user@realm` or `user@realm!token`.
    pub fn who(&self) -> String {
        self.client.who()
    }

    /// The addresses of its members, in the order in which they are tried.
    pub fn endpoints(&self) -> &'a [Endpoint] {
        self.client.endpoints()
    }

    /// The `data` at a path.
    ///
    /// # Errors
    /// Proxmox's; `Internal` where the tool did not declare the request; `Cancelled`.
    pub async fn get<T: DeserializeOwned>(&self, path: impl Into<String>) -> Result<T> {
        self.request(&Request::get(path)).await
    }

    /// As [`Reader::get`], with parameters.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn request<T: DeserializeOwned>(&self, request: &Request) -> Result<T> {
        self.list(request).await.map(|listing: Listing<T>| listing.data)
    }

    /// As [`Reader::request`], with the `total` and `changes` that some lists have beside their `data`.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn list<T: DeserializeOwned>(&self, request: &Request) -> Result<Listing<T>> {
        self.scope.check(request)?;
        let body = self.seen_or_asked(request).await?;
        perl::from_slice(&body).map_err(|e| error::bad_answer(request, &body, &e))
    }

    /// The whole answer as bytes: `{"data": …}`.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn fetch(&self, request: &Request) -> Result<Bytes> {
        self.scope.check(request)?;
        self.seen_or_asked(request).await
    }

    /// While a plan is made, nothing is asked for twice.
    async fn seen_or_asked(&self, request: &Request) -> Result<Bytes> {
        if let Some(body) = self.scope.seen.answer(request) {
            return Ok(body);
        }
        let body = self.unless_cancelled(self.client.fetch(request)).await?;
        self.scope.seen.note(request, &body);
        Ok(body)
    }

    /// The lowest free VMID. Nothing is reserved: another may take it before it is used.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn next_id(&self) -> Result<u32> {
        self.get("/cluster/nextid").await
    }

    /// What Proxmox's API accepts.
    pub fn api(&self) -> &'a super::api::Api {
        self.client.api()
    }

    pub fn default_node(&self) -> Option<&'a str> {
        self.client.defaults().node.as_deref()
    }
    pub fn default_storage(&self) -> Option<&'a str> {
        self.client.defaults().storage.as_deref()
    }
    pub fn default_bridge(&self) -> Option<&'a str> {
        self.client.defaults().bridge.as_deref()
    }

    /// The directory whose files may be uploaded, where one is set.
    pub fn upload_dir(&self) -> Option<&'a Path> {
        self.client.defaults().upload_dir.as_deref()
    }

    pub(super) async fn unless_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            outcome = work => outcome,
            () = self.scope.cancel.cancelled() => Err(Error::new(Kind::Cancelled, "the call was cancelled")),
        }
    }
}
