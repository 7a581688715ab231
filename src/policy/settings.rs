//! What the operator allows, as it was configured: read once at start, decided on elsewhere.

use std::path::PathBuf;

use super::rules::{Names, Rules};
use crate::{error::Result, toolsets::Chosen};

/// How much of what tools do is allowed at all; ordered from little to much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Nothing is changed.
    ReadOnly,
    /// Nothing is deleted or overwritten.
    NoDelete,
    #[default]
    Full,
}

impl Mode {
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().replace('_', "-").as_str() {
            "read-only" | "readonly" => Some(Self::ReadOnly),
            "no-delete" | "nodelete" => Some(Self::NoDelete),
            "full" => Some(Self::Full),
            _ => None,
        }
    }
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::NoDelete => "no-delete",
            Self::Full => "full",
        }
    }
}

/// Whether commands may be run in guests (files written and passwords set there are as good as commands).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Exec {
    /// As the mode says: not where nothing may be deleted, since nobody knows what a command does.
    #[default]
    ByMode,
    Off,
    On,
    /// Commands that fit one of the patterns, in which `*` stands for anything but what begins another command.
    Allowed(Vec<String>),
}

/// Bounds for what one request may ask for; `None` is without.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Guests that one call changes or makes.
    pub guests: Option<usize>,
    /// CPUs of one guest, cores times sockets.
    pub cores: Option<u64>,
    /// Bytes of one guest's memory.
    pub memory: Option<u64>,
    /// Bytes of one disk.
    pub disk: Option<u64>,
}

/// Everything that the operator may say about it.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub mode: Mode,
    pub tools: Chosen,
    /// The tool that sends any request is there.
    pub api_write: bool,
    /// Guests that may be touched; none given: all.
    pub allowed: Rules,
    /// Guests that may not.
    pub protected: Rules,
    pub nodes: Names,
    pub storages: Names,
    pub bounds: Bounds,
    pub exec: Exec,
    /// While this file is there, nothing is changed.
    pub freeze: Option<PathBuf>,
}

impl Settings {
    /// All tools, and nothing forbidden.
    ///
    /// # Errors
    /// None in fact: the names are this program's own.
    pub fn everything() -> Result<Self> {
        Ok(Self { api_write: true, tools: Chosen::new(&[crate::toolsets::ALL], &[], &[])?, ..Self::default() })
    }
}
