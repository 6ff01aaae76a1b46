//! Modules of filters and their compiled code, which is kept in a folder: under a counter or an emulator compiling would take
//! minutes, so it is done once, without them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tollgate::filter::digest::Digest;
use tollgate_abi::{Artifact, Engine, EngineSettings, Instances, Instructions, Module, ModuleError, ModuleLimits};

use super::{Ground, HostError, Setting};

/// Where things are. Who can write there decides what is run.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Of the modules that `make filters` builds.
    pub filters: PathBuf,
    /// Of compiled code; made where it is missing.
    pub code: PathBuf,
}

impl Folders {
    /// Those inside a folder of cargo's.
    pub fn within(target: &Path) -> Folders {
        Folders { filters: target.join("wasm32-wasip1/filter"), code: target.join("host-code") }
    }
}

impl Default for Folders {
    /// Those of this workspace, wherever the caller is.
    fn default() -> Self {
        Folders::within(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))
    }
}

/// An engine for the set.
pub(super) fn engine(setting: &Setting, instances: Instances) -> Result<Engine, HostError> {
    let (tick, instructions) = match setting.ground {
        Ground::This => (EngineSettings::default().tick, Instructions::Own),
        // The clock of the machine that counts is not to be seen in what is counted.
        Ground::Any => (Duration::from_secs(24 * 3600), Instructions::Common),
    };
    Ok(Engine::new(&EngineSettings { tick, instructions, instances, parallel_compilation: false })?)
}

/// The filter in this file of the folder.
pub(super) fn filter(engine: &Engine, setting: &Setting, file: &str) -> Result<Module, HostError> {
    let path = setting.folders.filters.join(file);
    let hint = "; `make filters` builds it";
    module(engine, setting, &fs::read(&path).map_err(|source| HostError::File { path, source, hint })?)
}

/// The module of these bytes.
pub(super) fn module(engine: &Engine, setting: &Setting, bytes: &[u8]) -> Result<Module, HostError> {
    let limits = ModuleLimits::default();
    let path = setting.folders.code.join(format!("{}-{}", Digest::of(bytes), engine.fingerprint()));
    if let Some(kept) = kept(&path)? {
        match Module::from_artifact(engine, bytes, &limits, None, &Artifact::vouched(kept)) {
            // Of another program: it is compiled anew.
            Err(ModuleError::Artifact(_)) => {}
            loaded => return Ok(loaded?),
        }
    }
    let artifact = Module::precompile(engine, bytes, &limits, None)?;
    keep(&path, artifact.as_bytes())?;
    Ok(Module::from_artifact(engine, bytes, &limits, None, &artifact)?)
}

fn kept(path: &Path) -> Result<Option<Vec<u8>>, HostError> {
    match fs::read(path) {
        Ok(code) => Ok(Some(code)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HostError::File { path: path.to_owned(), source, hint: "" }),
    }
}

/// Puts code where others find it whole or not at all.
fn keep(path: &Path, code: &[u8]) -> Result<(), HostError> {
    let failed = |source| HostError::File { path: path.to_owned(), source, hint: "" };
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let draft = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    fs::write(draft.path(), code).map_err(failed)?;
    draft.persist(path).map(drop).map_err(|error| failed(error.error))
}
