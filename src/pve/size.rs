//! Sizes of disks as Proxmox writes them: `32G`, `512M`, powers of 1024.

use crate::error::{Error, Result};

const UNITS: [(char, u64); 4] = [('T', 1 << 40), ('G', 1 << 30), ('M', 1 << 20), ('K', 1 << 10)];

/// Bytes; `unit` counts where none is written.
fn parse(text: &str, unit: u64) -> Option<u64> {
    let found = UNITS.iter().find_map(|(letter, bytes)| Some((text.strip_suffix(*letter)?, *bytes)));
    let (number, bytes) = found.unwrap_or((text, unit));
    let number: f64 = number.trim().parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0)?;
    Some((number * bytes as f64) as u64)
}

/// Of a configuration, where a bare number is bytes.
pub fn configured(text: &str) -> Option<u64> {
    parse(text, 1)
}

/// As a caller gives it, where a bare number is GiB.
///
/// # Errors
/// `BadArgument`.
pub fn given(text: &str) -> Result<u64> {
    let short = text.trim().to_ascii_uppercase();
    let short = short.trim_end_matches('B').trim_end_matches('I').trim_end();
    parse(short, 1 << 30).filter(|bytes| *bytes > 0 && !short.starts_with('+')).ok_or_else(|| {
        Error::bad_argument(format!("size: expected a size such as '40G', or a number of GiB, got '{text}'"))
            .hint("size is the new size; grow_gb is what is added to the present one")
    })
}

/// In the largest unit that needs no fraction.
pub fn text(bytes: u64) -> String {
    match UNITS.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((letter, unit)) => format!("{}{letter}", bytes / unit),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_as_proxmox_does() {
        for (written, bytes, again) in [
            ("40G", 40 << 30, "40G"),
            ("40", 40 << 30, "40G"),
            ("1.5 GiB", 3 << 29, "1536M"),
            ("2tb", 2 << 40, "2T"),
            ("0.5", 1 << 29, "512M"),
        ] {
            assert_eq!(given(written).ok(), Some(bytes), "{written}");
            assert_eq!(text(bytes), again);
        }
        assert_eq!(configured("4194304"), Some(4 << 20));
        for wrong in ["", "big", "-1", "0", "10X", "+5G"] {
            assert!(given(wrong).is_err(), "{wrong}");
        }
    }
}
