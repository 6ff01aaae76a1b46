//! What was read and compiled of modules before an order has its turn.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tollgate_abi::{AbiVersion, Module};

use crate::filter::compile::Compiler;
use crate::filter::digest::Digest;
use crate::filter::fault::FaultKind;
use crate::filter::generation::Origin;

/// The bytes of a module, and what they hash to.
#[derive(Clone)]
pub struct Fetched {
    /// The bytes.
    pub bytes: Bytes,
    /// Their SHA-256.
    pub digest: Digest,
    /// Where they came from.
    pub origin: Origin,
}

impl Fetched {
    /// Bytes that are here already.
    pub fn new(bytes: Bytes, origin: Origin) -> Self {
        Self { digest: Digest::of(&bytes), bytes, origin }
    }

    /// True for what that file held.
    pub fn is_of(&self, file: &Path) -> bool {
        matches!(&self.origin, Origin::File(path) if path == file)
    }
}

/// What a compiled module is known by.
pub(super) type Key = (Digest, Option<AbiVersion>);

/// A module that has to be compiled.
pub struct Missing {
    pub(super) key: Key,
    pub(super) bytes: Bytes,
}

/// What was read and compiled for one order before its turn.
#[derive(Default)]
pub struct Ready {
    /// What files held.
    pub(super) fetched: Vec<Fetched>,
    code: Vec<(Key, Result<Module, Arc<FaultKind>>)>,
}

impl Ready {
    /// What was read, nothing of it compiled yet.
    pub fn of(fetched: Vec<Fetched>) -> Self {
        Self { fetched, code: Vec::new() }
    }

    /// What came of compiling it.
    pub(super) fn code(&self, key: Key) -> Option<Result<Module, Arc<FaultKind>>> {
        self.code.iter().find(|(known, _)| *known == key).map(|(_, code)| code.clone())
    }

    /// Compiles; belongs on a thread that nobody waits for.
    pub fn compile(&mut self, missing: Vec<Missing>, compiler: &Compiler) {
        for Missing { key, bytes } in missing {
            if !self.code.iter().any(|(known, _)| *known == key) {
                let code = compiler.module(key.0, &bytes, key.1).map(|compiled| compiled.module);
                self.code.push((key, code.map_err(|error| Arc::new(error.into()))));
            }
        }
    }
}
