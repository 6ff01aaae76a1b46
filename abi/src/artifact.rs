//! Compiled code as bytes: made in one process, kept or sent, and made a module again in another.
//!
//! It neither stores nor authenticates them; whoever hands bytes back vouches for them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::ModuleError;
use crate::limits::ModuleLimits;
use crate::module::{self, Module};
use crate::outline::Outline;
use crate::types::AbiVersion;

/// The code of one module for one engine. It is native code: whoever can alter it can do all that this process may.
#[derive(Clone)]
pub struct Artifact(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl Artifact {
    /// Takes bytes that the caller vouches for: an artifact that [`Module::precompile`] made, whole and unaltered.
    /// Other bytes are undefined behaviour once [`Module::from_artifact`] has them, so they come from a process that is
    /// trusted or carry a proof such as a MAC.
    pub fn vouched(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Artifact {
        Artifact(Arc::new(bytes))
    }

    /// The bytes, to keep or to send.
    pub fn as_bytes(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl PartialEq for Artifact {
    fn eq(&self, other: &Artifact) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Artifact {}

impl fmt::Debug for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Artifact({} bytes)", self.as_bytes().len())
    }
}

/// Which compiler, settings and processor an artifact is for; shown as hex. Equal in every process of one binary on one
/// machine, and with one engine no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Engine {
    /// What artifacts of this engine are told apart by.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = Fnv::default();
        module::CODE_VERSION.hash(&mut hasher);
        self.wasmtime().precompile_compatibility_hash().hash(&mut hasher);
        Fingerprint(hasher.0.to_be_bytes())
    }
}

impl Module {
    /// Everything that can be refused without compiling; answers with the version of the interface the module speaks.
    pub fn check(bytes: &[u8], limits: &ModuleLimits, abi: Option<AbiVersion>) -> Result<AbiVersion, ModuleError> {
        Outline::read(bytes, limits)?.check(abi)
    }

    /// Checks and compiles as [`Module::compile_as`] does, without loading the code into this process.
    pub fn precompile(
        engine: &Engine,
        bytes: &[u8],
        limits: &ModuleLimits,
        abi: Option<AbiVersion>,
    ) -> Result<Artifact, ModuleError> {
        Self::check(bytes, limits, abi)?;
        let code = engine.wasmtime().precompile_module(&module::compile_input(bytes)?);
        code.map(Artifact::vouched).map_err(|error| module::invalid(&error))
    }

    /// The module of these bytes, with the code of `artifact` instead of compiling. The caller vouches that `artifact` was
    /// made by [`Module::precompile`] of the same bytes for an engine of the same [`Fingerprint`].
    ///
    /// [`ModuleError::Artifact`] says that the code is not for this engine, every other error what `precompile` would say.
    pub fn from_artifact(
        engine: &Engine,
        bytes: &[u8],
        limits: &ModuleLimits,
        abi: Option<AbiVersion>,
        artifact: &Artifact,
    ) -> Result<Module, ModuleError> {
        let outline = Outline::read(bytes, limits)?;
        let abi = outline.check(abi)?;
        let code =
            load(engine, artifact).map_err(|error| ModuleError::Artifact(module::one_line(&format!("{error:#}"))))?;
        Ok(Module::assemble(engine, code, outline, abi))
    }
}

#[expect(unsafe_code, reason = "wasmtime has no safe way to take compiled code back")]
fn load(engine: &Engine, artifact: &Artifact) -> wasmtime::Result<wasmtime::Module> {
    // SAFETY: `deserialize` asks for the unaltered output of `precompile_module` of any wasmtime. An `Artifact` is made in
    // two places only: by `precompile`, from that output, and by `vouched`, whose caller has promised the same. Code for
    // other settings or of another wasmtime is told by the header that `deserialize` checks, and is an error.
    unsafe { wasmtime::Module::deserialize(engine.wasmtime(), artifact.as_bytes()) }
}

/// FNV-1a of 128 bits: the same in every process, which the hashers of std do not promise.
struct Fnv(u128);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }

    /// The low half; fingerprints are read whole from the state.
    fn finish(&self) -> u64 {
        u64::try_from(self.0 & u128::from(u64::MAX)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a_of_128_bits() {
        let mut empty = Fnv::default();
        let mut one = Fnv::default();

        empty.write(b"");
        one.write(b"a");

        // The values of the specification's own test vectors.
        assert_eq!(empty.0, 0x6c62272e07bb014262b821756295c58d);
        assert_eq!(one.0, 0xd228cb696f1a8caf78912b704e4a8964);
    }
}
