//! Uploads, below the API: a multipart form is read as it comes, by the literal patterns that pveproxy looks for. The file
//! is hashed and counted, and not kept.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use http::{Method, header, request::Parts};
use regex::bytes::Regex;

use crate::{
    checksum::Checksum,
    pve::{
        SendError,
        api::{Given, Params},
    },
};

/// pveproxy holds no more of a form's head than this: it gives the connection up.
const HEAD_LIMIT: usize = 64 << 10;

/// A request's body: whole, or as it comes.
pub enum Body {
    Whole(Bytes),
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, SendError>> + Send>>),
}

impl Body {
    fn stream(self) -> Pin<Box<dyn Stream<Item = Result<Bytes, SendError>> + Send>> {
        match self {
            Self::Whole(bytes) => Box::pin(stream::once(async { Ok(bytes) })),
            Self::Stream(stream) => stream,
        }
    }
}

/// Whether pveproxy takes a request for an upload.
pub fn is_upload(method: &Method, path: &str) -> bool {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    method == Method::POST && matches!(parts[..], ["nodes", _, "storage", _, "upload"])
}

/// A file that was received: what is known of it.
#[derive(Debug, Clone)]
pub struct Received {
    pub size: u64,
    /// By the algorithm that the form asked for.
    pub checksum: Option<String>,
}

/// The files received and not yet taken, by the name of their temporary file.
#[derive(Debug, Default)]
pub struct Uploads(Mutex<HashMap<String, Received>>);

impl Uploads {
    pub fn take(&self, name: &str) -> Option<Received> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name)
    }
    fn keep(&self, name: String, received: Received) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, received);
    }
}

/// Why an upload ended early.
pub enum Broken {
    /// Answered by pveproxy itself.
    Refused(u16, String),
    /// The connection went.
    Lost(SendError),
}

fn refused(text: &str) -> Broken {
    Broken::Refused(501, text.to_owned())
}

/// Reads the form to its end; the parameters that it makes, `tmpfilename` among them.
pub async fn receive(uploads: &Uploads, parts: &Parts, body: Body, name: String) -> Result<Params, Broken> {
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut pieces = content_type.split([';', ',']).map(str::trim);
    let boundary = match pieces.next() {
        Some("multipart/form-data") => pieces.find_map(|piece| piece.strip_prefix("boundary=")),
        _ => None,
    };
    let Some(boundary) = boundary else {
        return Err(Broken::Refused(506, format!("upload 'Content-Type '{content_type}' not implemented")));
    };
    let mut form = Form::new(boundary)?;
    let mut body = body.stream();
    while let Some(bytes) = body.next().await {
        form.feed(&bytes.map_err(Broken::Lost)?)?;
    }
    let Form { phase: Phase::Done, mut params, hash, size, .. } = form else {
        return Err(refused("upload failed at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 1252.\n"));
    };
    params.insert("tmpfilename".to_owned(), Given::Text(name.clone()));
    uploads.keep(name, Received { size, checksum: hash.map(Checksum::hex) });
    Ok(params)
}

enum Phase {
    /// Before the first boundary.
    Start,
    Fields,
    File,
    Done,
}

struct Form {
    phase: Phase,
    buffer: BytesMut,
    params: Params,
    hash: Option<Checksum>,
    size: u64,
    patterns: Patterns,
}

struct Patterns {
    delimiter: Regex,
    fields: Vec<(&'static str, Regex)>,
    until_data: Regex,
    value: Regex,
    file: Regex,
    end: Regex,
    /// How much may be part of the end that is not all there.
    end_length: usize,
}

impl Patterns {
    fn new(boundary: &str) -> Result<Self, regex::Error> {
        let quoted = regex::escape(boundary);
        let delimiter = format!("--{quoted}\r?\n");
        let field = |name: &'static str| {
            let pattern = format!(
                "(?s-u)^{delimiter}.*?Content-Disposition: (.*?); name=\"{}\"(.*?{delimiter})",
                regex::escape(name)
            );
            Regex::new(&pattern).map(|regex| (name, regex))
        };
        Ok(Self {
            fields: ["content", "checksum-algorithm", "checksum"].into_iter().map(field).collect::<Result<_, _>>()?,
            until_data: Regex::new("(?s-u)^.*?\r?\n\r?\n")?,
            value: Regex::new(&format!("(?s-u)^(.*?){delimiter}"))?,
            file: Regex::new(&format!(
                "(?s-u)^{delimiter}Content-Disposition: (.*?); name=\"(.*?)\"; filename=\"([^\"]+)\"\r?\n"
            ))?,
            // Without the line break before it, so that it is one text to search for.
            end: Regex::new(&format!("(?-u)--{quoted}--"))?,
            delimiter: Regex::new(&format!("(?-u){delimiter}"))?,
            end_length: boundary.len() + 8,
        })
    }
}

impl Form {
    fn new(boundary: &str) -> Result<Self, Broken> {
        let patterns = Patterns::new(boundary).map_err(|e| refused(&e.to_string()))?;
        let (params, buffer) = (Params::new(), BytesMut::new());
        Ok(Self { phase: Phase::Start, buffer, params, hash: None, size: 0, patterns })
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.buffer.extend_from_slice(bytes);
        if matches!(self.phase, Phase::Start)
            && let Some(found) = self.patterns.delimiter.find(&self.buffer)
        {
            let _ = self.buffer.split_to(found.start());
            self.phase = Phase::Fields;
        }
        if matches!(self.phase, Phase::Fields) {
            self.fields()?;
        }
        if matches!(self.phase, Phase::Start | Phase::Fields) && self.buffer.len() > HEAD_LIMIT {
            return Err(Broken::Lost(SendError::Lost("connection closed: no space left in its buffer".to_owned())));
        }
        if matches!(self.phase, Phase::File) {
            self.file();
        }
        Ok(())
    }

    /// The fields that are all there, in the one order that is understood; then the beginning of the file.
    fn fields(&mut self) -> Result<(), Broken> {
        for (name, pattern) in &self.patterns.fields {
            let Some(found) = pattern.captures(&self.buffer) else { continue };
            let (kind, rest) = (found[1].to_vec(), found.get(2).map_or(0, |rest| rest.start()));
            expect_form_data(&kind)?;
            let _ = self.buffer.split_to(rest);
            skip(&mut self.buffer, &self.patterns.until_data);
            let Some(value) = self.patterns.value.captures(&self.buffer) else { continue };
            let (value, length) = (String::from_utf8_lossy(&value[1]).trim().to_owned(), value[1].len());
            let _ = self.buffer.split_to(length);
            self.params.insert((*name).to_owned(), Given::Text(value));
        }
        let Some(found) = self.patterns.file.captures(&self.buffer) else { return Ok(()) };
        expect_form_data(&found[1])?;
        if &found[2] != b"filename" {
            let name = String::from_utf8_lossy(&found[2]);
            return Err(refused(&format!("wrong field name '{name}' for file upload, expected 'filename'")));
        }
        let name = String::from_utf8_lossy(&found[3]).trim().to_owned();
        let length = found[0].len();
        let _ = self.buffer.split_to(length);
        self.params.insert("filename".to_owned(), Given::Text(name));
        skip(&mut self.buffer, &self.patterns.until_data);
        if let Some(Given::Text(algorithm)) = self.params.get("checksum-algorithm") {
            self.hash = Checksum::new(algorithm);
        }
        self.phase = Phase::File;
        Ok(())
    }

    /// What is certainly the file's.
    fn file(&mut self) {
        let end = self.patterns.end.find(&self.buffer).map(|found| {
            let data = &self.buffer[..found.start()];
            let data = data.strip_suffix(b"\n").map_or(data, |data| data.strip_suffix(b"\r").unwrap_or(data));
            data.len()
        });
        let length = end.unwrap_or_else(|| self.buffer.len().saturating_sub(self.patterns.end_length));
        let data = self.buffer.split_to(length);
        self.size += data.len() as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(&data);
        }
        if end.is_some() {
            self.phase = Phase::Done;
        }
    }
}

fn skip(buffer: &mut BytesMut, pattern: &Regex) {
    if let Some(length) = pattern.find(buffer).map(|found| found.end()) {
        let _ = buffer.split_to(length);
    }
}

fn expect_form_data(kind: &[u8]) -> Result<(), Broken> {
    if kind == b"form-data" {
        return Ok(());
    }
    let kind = String::from_utf8_lossy(kind);
    Err(refused(&format!("wrong Content-Disposition '{kind}' in multipart, expected 'form-data'\n")))
}
