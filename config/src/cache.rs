//! The cache: where compiled modules are kept from one run to the next.
//! Keeping them is the proxy's work.

use std::path::PathBuf;

use serde_json::Value;

use crate::scalar::{Scalar, Unfit};

/// Where compiled modules are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Cache {
    /// Nowhere.
    Off,
    /// In the folder that the system has for such things, when there is one.
    #[default]
    Default,
    /// In this folder; a relative path is joined to the folder of the configuration.
    Dir(PathBuf),
}

/// The path of a folder, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Scalar for Folder {
    const EXPECTED: &'static str = "the path of a folder";

    fn parse(text: &str) -> Result<Folder, Unfit> {
        match text.is_empty() || text.contains('\0') || text.contains("://") {
            true => Err(Unfit::value("is not the path of a folder")),
            false => Ok(Folder(text.into())),
        }
    }

    fn spell(&self) -> Value {
        self.0.to_string_lossy().into()
    }
}
