//! A request to the Proxmox API as data: method, path and parameters, nothing sent. Plans are made of these, a dry run
//! prints them, and the client sends exactly them.

use std::borrow::Cow;

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};

use super::FilePart;
use crate::policy::Effect;

/// Everything but unreserved characters is encoded: PVE splits forms at `;` too and cuts a value at a second raw `=`.
const ENCODE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes one path segment, query value or form value.
pub fn encode(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, ENCODE).into()
}

/// Undoes [`encode`].
pub fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// `path` is relative to `/api2/json`, begins with `/`, and its segments are already encoded where they need it
/// (UPIDs, volume ids: see [`encode`]). Parameters keep their order; a key may repeat (arrays).
#[derive(Clone, PartialEq)]
pub struct Request {
    pub method: Method,
    pub path: String,
    pub params: Vec<(Cow<'static, str>, Param)>,
    /// A file that is sent after the parameters, as the field `filename` of a multipart form.
    pub file: Option<FilePart>,
}

/// One parameter value; a secret is sent, but never shown.
#[derive(Clone, PartialEq)]
pub enum Param {
    Plain(String),
    Secret(String),
}

impl Param {
    pub fn shown(&self) -> &str {
        match self {
            Self::Plain(v) => v,
            Self::Secret(_) => "********",
        }
    }
    /// The value, where it is a secret: to take it out of what is shown.
    pub(super) fn secret(&self) -> Option<&str> {
        match self {
            Self::Plain(_) => None,
            Self::Secret(v) => Some(v),
        }
    }
    fn sent(&self) -> &str {
        match self {
            Self::Plain(v) | Self::Secret(v) => v,
        }
    }
}

impl std::fmt::Debug for Param {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.shown())
    }
}

impl Request {
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), params: Vec::new(), file: None }
    }
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }
    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    pub fn param(mut self, key: impl Into<Cow<'static, str>>, value: impl ToString) -> Self {
        self.params.push((key.into(), Param::Plain(value.to_string())));
        self
    }
    pub fn secret(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.params.push((key.into(), Param::Secret(value.into())));
        self
    }
    /// Adds the parameter where there is a value.
    pub fn maybe(self, key: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.param(key, value),
            None => self,
        }
    }
    /// Sends `1` where true and nothing where false (PVE refuses `true` and `false` in forms).
    pub fn flag(self, key: &'static str, value: bool) -> Self {
        if value { self.param(key, 1) } else { self }
    }

    /// The value of a parameter, unless it is a secret.
    pub fn param_of(&self, key: &str) -> Option<&str> {
        self.plain_params().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// All parameters but the secret ones.
    pub fn plain_params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params.iter().filter_map(|(key, value)| match value {
            Param::Plain(value) => Some((key.as_ref(), value.as_str())),
            Param::Secret(_) => None,
        })
    }

    /// Sends the parameters as a multipart form, with the file at its end.
    pub fn upload(mut self, file: FilePart) -> Self {
        self.file = Some(file);
        self
    }

    /// What this request does by itself, whoever built it: a DELETE is destructive, and so is what frees volumes or puts an
    /// older state in the present one's place; a command in a guest is one.
    pub fn effect(&self) -> Effect {
        match self.method {
            Method::POST if self.path.ends_with("/agent/exec") => Effect::Execute,
            Method::GET => Effect::Read,
            Method::DELETE => Effect::Destroy,
            _ if self.frees_volumes() || self.replaces() => Effect::Destroy,
            _ => Effect::Write,
        }
    }

    /// Unused disks lose their volumes when they are taken out of a configuration, others with `force`.
    fn frees_volumes(&self) -> bool {
        let gone = self.plain_params().filter(|(key, _)| matches!(*key, "delete" | "idlist"));
        let mut gone = gone.flat_map(|(_, keys)| keys.split(',')).peekable();
        let force = self.param_of("force") == Some("1");
        (force && gone.peek().is_some()) || gone.any(|key| key.starts_with("unused"))
    }

    /// The volume that it downloads, from an address or of Proxmox's index of templates, and the path of its storage.
    fn downloads(&self) -> Option<(String, String)> {
        if let Some(node) = self.path.strip_suffix("/aplinfo") {
            let (storage, file) = (self.param_of("storage")?, self.param_of("template")?);
            return Some((format!("{node}/storage/{}", encode(storage)), format!("{storage}:vztmpl/{file}")));
        }
        let base = self.path.strip_suffix("/download-url")?;
        let (file, content) = (self.param_of("filename")?, self.param_of("content")?);
        let storage = decode(base.rsplit('/').next().unwrap_or_default());
        Some((base.to_owned(), format!("{storage}:{content}/{file}")))
    }

    /// The volume that it downloads.
    pub fn fetched(&self) -> Option<String> {
        self.downloads().map(|(_, volid)| volid)
    }

    /// Whether it downloads the file that the other one deletes.
    pub fn fetches(&self, delete: &Self) -> bool {
        let Some((storage, volid)) = self.downloads() else { return false };
        delete.method == Method::DELETE && delete.path == format!("{storage}/content/{}", encode(&volid))
    }

    /// A rollback, or a restore over a guest.
    fn replaces(&self) -> bool {
        self.path.ends_with("/rollback") || (self.method == Method::POST && self.is_restore_over())
    }

    fn is_restore_over(&self) -> bool {
        let restores = self.param_of("archive").is_some() || self.param_of("restore") == Some("1");
        restores && self.param_of("force") == Some("1")
    }

    /// The parameters as shown in a plan: secrets masked, a repeated key as an array.
    pub fn shown_params(&self) -> Map<String, Value> {
        let mut params = Map::new();
        for (key, value) in &self.params {
            let value = Value::from(value.shown());
            match params.get_mut(key.as_ref()) {
                None => drop(params.insert(key.to_string(), value)),
                Some(Value::Array(all)) => all.push(value),
                Some(first) => *first = vec![first.take(), value].into(),
            }
        }
        if let Some(file) = &self.file {
            params.insert("filename".to_owned(), file.into());
        }
        params
    }

    /// The parameters as a form or query string, secrets included: for the wire only.
    pub fn encoded(&self) -> String {
        let mut out = String::new();
        for (key, value) in &self.params {
            if !out.is_empty() {
                out.push('&');
            }
            out.extend(utf8_percent_encode(key, ENCODE));
            out.push('=');
            out.extend(utf8_percent_encode(value.sent(), ENCODE));
        }
        out
    }
}

/// `METHOD /path`, without parameters.
impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")?;
        for (key, value) in &self.params {
            write!(f, " {key}={}", value.shown())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_is_known_from_what_deletes_its_file() {
        let template = Request::post("/nodes/a/aplinfo").param("storage", "nas").param("template", "x_1.tar.zst");
        let image =
            Request::post("/nodes/a/storage/nas/download-url").param("content", "iso").param("filename", "x.iso");
        let delete = |volume: &str| Request::delete(format!("/nodes/a/storage/nas/content/{}", encode(volume)));
        for (download, volume, its) in [
            (&template, "nas:vztmpl/x_1.tar.zst", true),
            (&template, "nas:vztmpl/x_2.tar.zst", false),
            (&template, "nas:iso/x.iso", false),
            (&image, "nas:iso/x.iso", true),
            (&image, "local:iso/x.iso", false),
        ] {
            assert_eq!(download.fetches(&delete(volume)), its, "{download:?} {volume}");
        }
        assert!(!template.fetches(&Request::delete("/nodes/b/storage/nas/content/nas%3Avztmpl%2Fx_1.tar.zst")));
    }

    #[test]
    fn what_frees_volumes_is_destructive_whatever_its_method() {
        let put = || Request::put("/nodes/a/qemu/100/config");
        for (request, effect) in [
            (put().param("cores", 2), Effect::Write),
            (put().param("delete", "scsi1,net1"), Effect::Write),
            (put().param("delete", "net1,unused0"), Effect::Destroy),
            (put().param("delete", "scsi1").param("force", 1), Effect::Destroy),
            (Request::put("/nodes/a/qemu/100/unlink").param("idlist", "scsi1").param("force", 1), Effect::Destroy),
            (Request::post("/nodes/a/qemu").param("archive", "x").param("force", 1), Effect::Destroy),
            (Request::post("/nodes/a/qemu").param("archive", "x"), Effect::Write),
            (Request::post("/nodes/a/qemu/100/snapshot/a/rollback"), Effect::Destroy),
            (Request::delete("/nodes/a/qemu/100"), Effect::Destroy),
        ] {
            assert_eq!(request.effect(), effect, "{request:?}");
        }
    }
}
