//! What a client would rather have (RFC 7240): an answer at once, or one for which is waited so long. What cannot be
//! understood is nothing that was asked.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::action::MAX_SECONDS;

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Says which of it was done.
pub const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// As far as there is a use for it here.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Prefer {
    /// Not to be waited for.
    pub at_once: bool,
    /// How long to wait.
    pub wait: Option<Duration>,
}

impl Prefer {
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        let mut prefer = Self::default();
        for preference in values.flat_map(|value| value.split([',', ';'])) {
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "respond-async" => prefer.at_once = true,
                "wait" => prefer.wait = prefer.wait.or_else(|| seconds(value)),
                _ => {}
            }
        }
        // Both: for that long, and then at once. There is an answer then anyway.
        Self { at_once: prefer.at_once && prefer.wait.is_none(), ..prefer }
    }

    /// The header of an answer that was given at once, or waited for.
    pub fn applied(self) -> Option<HeaderValue> {
        match self.wait {
            Some(wait) => HeaderValue::from_str(&format!("wait={}", wait.as_secs())).ok(),
            None => self.at_once.then(|| HeaderValue::from_static("respond-async")),
        }
    }
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds: u64 = text.trim().trim_matches('"').parse().ok()?;
    Some(Duration::from_secs(seconds.min(MAX_SECONDS.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_read_as_they_are_written_by_others() {
        let of = |text: &'static str| Prefer::of(&HeaderMap::from_iter([(PREFER, HeaderValue::from_static(text))]));
        let wait = |seconds| Prefer { at_once: false, wait: Some(Duration::from_secs(seconds)) };
        assert_eq!(of("respond-async"), Prefer { at_once: true, wait: None });
        assert_eq!(of("Respond-Async, wait=10"), wait(10));
        assert_eq!(of("return=minimal; wait=\"5\""), wait(5));
        assert_eq!(of("wait=99999999999"), wait(MAX_SECONDS.into()));
        assert_eq!(of("wait=soon, handling=lenient"), Prefer::default());
    }
}
