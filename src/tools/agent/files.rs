//! Files in a VM, through its guest agent.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{bytes, plan, vm};
use crate::{outside::clean, tool::*};

/// How much of a file is returned where the call does not say.
const PART: usize = 64 << 10;

/// Read a file in a VM through its guest agent; what is not text comes as base64.
#[derive(Deserialize, JsonSchema)]
pub struct FileRead {
    #[serde(flatten)]
    guest: GuestRef,
    #[schemars(length(min = 1))]
    path: String,
    /// Needs Proxmox VE 9.
    offset: Option<u64>,
    /// Most bytes; default 65536.
    #[schemars(range(min = 1, max = 16_777_216))]
    count: Option<usize>,
}

impl Tool for FileRead {
    const NAME: &str = "proxmox-agent-file-read";
    const TITLE: &str = "Read a file in a VM";
    const API: &[&str] = &["GET /nodes/{node}/qemu/{vmid}/agent/file-read"];
    const EXAMPLE: (&str, &str) =
        ("What is in /etc/os-release of web-01?", r#"{"name": "web-01", "path": "/etc/os-release"}"#);
}

#[derive(Deserialize)]
struct Answer {
    content: String,
    #[serde(default)]
    truncated: bool,
}

#[derive(Serialize, JsonSchema)]
pub struct Content {
    vmid: u32,
    node: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// Of what is returned.
    bytes: usize,
    /// There is more: go on at next_offset.
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset: Option<u64>,
    /// base64, or latin-1 (each character is a byte); absent: UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    content: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

impl Query for FileRead {
    type Output = Content;
    async fn query(&self, pve: &Reader<'_>) -> Result<Content> {
        let guest = vm(pve, &self.guest).await?;
        let most = self.count.unwrap_or(PART);
        let mut request = Request::get(guest.path("agent/file-read")).param("file", &self.path);
        // Before version 9 neither is known: a file is then read from its beginning, and cut here.
        if let Some(offset) = self.offset.filter(|offset| *offset > 0) {
            request = request.param("offset", offset).param("count", most);
        }
        let answer: Answer = pve.request(&request).await?;
        let all = bytes::of(&answer.content);
        let part = &all[..bytes::cut(&all, most)];
        let truncated = answer.truncated || part.len() < all.len();
        let bytes::Shown { text, encoding } = bytes::show(part);
        Ok(Content {
            vmid: guest.vmid,
            node: guest.node,
            path: self.path.clone(),
            offset: self.offset,
            bytes: part.len(),
            truncated,
            next_offset: truncated.then(|| self.offset.unwrap_or_default() + part.len() as u64),
            encoding,
            note: (clean(&text) != text).then_some(
                "characters that are not shown are left out (carriage returns, escapes, invisible ones): writing this back \
                 would lose them",
            ),
            content: text,
        })
    }
}

/// Write a file in a VM through its guest agent, replacing it.
#[derive(Deserialize, JsonSchema)]
pub struct FileWrite {
    #[serde(flatten)]
    guest: GuestRef,
    #[schemars(length(min = 1))]
    path: String,
    /// At most 60 KiB (45 if not ASCII).
    content: String,
    #[serde(default)]
    base64: bool,
}

impl Tool for FileWrite {
    const NAME: &str = "proxmox-agent-file-write";
    const TITLE: &str = "Write a file in a VM";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/agent/file-write"];
    const EXAMPLE: (&str, &str) = (
        "Put a greeting into /etc/motd of web-01",
        r#"{"name": "web-01", "path": "/etc/motd", "content": "Welcome\n", "confirm": true}"#,
    );
}

/// What Proxmox takes, in characters.
const MOST: usize = 60 << 10;

impl Action for FileWrite {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let (content, encoded, size) = self.content()?;
        let guest = vm(pve, &self.guest).await?;
        let request = Request::post(guest.path("agent/file-write")).param("file", &self.path).param("content", content);
        let request = if encoded { request.param("encode", 0) } else { request };
        let plan = plan(&guest, &format!("write {size} bytes to {} in", self.path), request);
        Ok(plan.no_undo("what the file held before is not kept"))
    }
}

impl FileWrite {
    /// What to send, whether that is base64, and how many bytes it stands for. Proxmox encodes ASCII itself; of other text it
    /// makes bytes that are not UTF-8, or fails.
    fn content(&self) -> Result<(String, bool, usize)> {
        let limit = |length: usize, what: &str| {
            let words = format!("content: expected at most {what}, got {length} bytes");
            Error::bad_argument(words).hint("write it in parts and join them in the guest, or have the guest fetch it")
        };
        if self.base64 {
            let text: String = self.content.split_ascii_whitespace().collect();
            let bytes = STANDARD
                .decode(&text)
                .map_err(|e| Error::bad_argument(format!("content: expected base64, got something else: {e}")))?;
            return match text.len() > MOST {
                true => Err(limit(bytes.len(), "46080 bytes, which base64 makes 60 KiB of")),
                false => Ok((text, true, bytes.len())),
            };
        }
        let size = self.content.len();
        if self.content.is_ascii() {
            return if size > MOST { Err(limit(size, "61440 bytes")) } else { Ok((self.content.clone(), false, size)) };
        }
        let text = STANDARD.encode(&self.content);
        match text.len() > MOST {
            true => Err(limit(size, "46080 bytes of text that is not ASCII")),
            false => Ok((text, true, size)),
        }
    }
}
