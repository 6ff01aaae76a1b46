//! Plugins: modules with their configuration, name and budget.
//! Reading and compiling the module is the proxy's work.

mod budget;
mod policy;
mod rollout;
mod selftest;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::{Schema, json_schema};
use serde_json::Value;

use crate::error::Place;
use crate::quota::{Allow, Quota};
use crate::scalar::{Name, Scalar, Unfit, Word};

pub use budget::Budget;
pub(crate) use budget::{Memory, Recycle, Share};
pub use policy::{Isolation, Keeping, OnError, Policy};
pub use rollout::{Canary, Rollout};
pub(crate) use selftest::{Authority, Destination, FieldValue};
pub use selftest::{Expectation, SelfTest, TestRequest};

/// The position of a [`Plugin`] in [`Config::plugins`](crate::Config::plugins).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginId(pub usize);

/// A module with the configuration it runs with. Two plugins are equal when they run alike, wherever they were written.
#[derive(Debug, Clone, Eq)]
pub struct Plugin {
    /// The name written, else one made from the module's file name; no two plugins share it.
    pub name: String,
    /// The module's file; a relative path is joined to the folder of the configuration.
    pub module: PathBuf,
    /// What the module's bytes must hash to, when written.
    pub sha256: Option<[u8; 32]>,
    /// Which root context of the module this is; empty unless written.
    pub root_id: String,
    /// Plugins of equal `vm_id` share data and queues; the plugin's name unless written.
    pub vm_id: String,
    /// What the guest reads as its plugin configuration: JSON with the keys in the order written,
    /// the bytes of a plain string, or nothing when absent.
    pub config: Vec<u8>,
    /// What the guest reads as its VM configuration, in the same way.
    pub vm_config: Vec<u8>,
    /// The environment the guest sees, in the order written.
    pub env: Vec<(String, String)>,
    /// How the module's successor is tried.
    pub rollout: Rollout,
    /// What becomes of what the plugin keeps when it is replaced; the same for all plugins of one `vm_id`.
    pub state: Keeping,
    /// Which exchanges share a VM.
    pub isolation: Isolation,
    /// What a new generation has to pass before it serves, in the order written.
    pub selftest: Vec<SelfTest>,
    /// What happens to an exchange when the plugin cannot do its work.
    pub on_error: OnError,
    /// What the plugin may spend.
    pub budget: Budget,
    /// How hostcalls answer arguments that are wrong but harmless.
    pub guest_errors: GuestErrors,
    /// The version of proxy-wasm of a module that has no marker of its own.
    pub abi: Option<AbiVersion>,
    /// The longest that the plugin may hold an exchange paused; never zero.
    pub pause_timeout: Duration,
    /// What a pause in a callback for headers holds back.
    pub header_pause: HeaderPause,
    /// Whether a message without a body gets a callback for it.
    pub empty_body: EmptyBody,
    /// What the plugin may reach.
    pub allow: Allow,
    /// How much the plugin may keep and ask for.
    pub quota: Quota,
    /// Where the plugin was written.
    pub place: Place,
}

impl Plugin {
    /// [`Plugin::pause_timeout`] when none is written.
    pub const PAUSE_TIMEOUT: Duration = Duration::from_secs(60);

    /// Whether both run alike: everything is equal but the place. The clusters in [`Allow::calls`] are compared by
    /// their positions, which mean something in one configuration only.
    pub fn is_same(&self, other: &Plugin) -> bool {
        // Without `..`, so that a new field has to be compared or left out on purpose.
        let Plugin {
            name,
            module,
            sha256,
            root_id,
            vm_id,
            config,
            vm_config,
            env,
            rollout,
            state,
            isolation,
            selftest,
            on_error,
            budget,
            guest_errors,
            abi,
            pause_timeout,
            header_pause,
            empty_body,
            allow,
            quota,
            place: _,
        } = self;
        *name == other.name
            && *module == other.module
            && *sha256 == other.sha256
            && *root_id == other.root_id
            && *vm_id == other.vm_id
            && *config == other.config
            && *vm_config == other.vm_config
            && *env == other.env
            && *rollout == other.rollout
            && *state == other.state
            && *isolation == other.isolation
            && *selftest == other.selftest
            && *on_error == other.on_error
            && *budget == other.budget
            && *guest_errors == other.guest_errors
            && *abi == other.abi
            && *pause_timeout == other.pause_timeout
            && *header_pause == other.header_pause
            && *empty_body == other.empty_body
            && *allow == other.allow
            && *quota == other.quota
    }
}

impl PartialEq for Plugin {
    fn eq(&self, other: &Plugin) -> bool {
        self.is_same(other)
    }
}

/// How hostcalls answer arguments that are wrong but harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GuestErrors {
    /// As other proxies do: many mistakes are answered with success.
    #[default]
    Lenient,
    /// As the specification says: a mistake is answered with its status.
    Strict,
}

/// A version of proxy-wasm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbiVersion {
    /// 0.1.0.
    V0_1_0,
    /// 0.2.0.
    V0_2_0,
    /// 0.2.1.
    V0_2_1,
}

/// What a pause in a callback for headers holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderPause {
    /// The whole message: no callback for its body comes before the filter goes on.
    #[default]
    Message,
    /// The head alone: callbacks for the body are made all the same.
    Headers,
}

/// Whether a message without a body gets a callback for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EmptyBody {
    /// It gets none.
    #[default]
    Skip,
    /// It gets one, of no bytes and at the end of the message.
    Call,
}

impl Word for GuestErrors {
    const WORDS: &'static [(&'static str, GuestErrors)] =
        &[("lenient", GuestErrors::Lenient), ("strict", GuestErrors::Strict)];
    const EXPECTED: &'static str = "\"lenient\" or \"strict\"";
}

impl Word for AbiVersion {
    const WORDS: &'static [(&'static str, AbiVersion)] =
        &[("0.1.0", AbiVersion::V0_1_0), ("0.2.0", AbiVersion::V0_2_0), ("0.2.1", AbiVersion::V0_2_1)];
    const EXPECTED: &'static str = "0.1.0, 0.2.0 or 0.2.1";
}

impl Word for HeaderPause {
    const WORDS: &'static [(&'static str, HeaderPause)] =
        &[("message", HeaderPause::Message), ("headers", HeaderPause::Headers)];
    const EXPECTED: &'static str = "\"message\" or \"headers\"";
}

impl Word for EmptyBody {
    const WORDS: &'static [(&'static str, EmptyBody)] = &[("skip", EmptyBody::Skip), ("call", EmptyBody::Call)];
    const EXPECTED: &'static str = "\"skip\" or \"call\"";
}

/// The path of a module as it is written, perhaps with `@sha256:` and what its bytes must hash to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModuleRef {
    pub(crate) path: PathBuf,
    pub(crate) sha256: Option<Sha256>,
}

impl ModuleRef {
    /// What stands between the path and the hash.
    pub(crate) const PIN: &'static str = "@sha256:";

    /// The name of a plugin made from the file's name; `filter` where that gives none.
    pub(crate) fn stem(shown: &str) -> String {
        let path = shown.rsplit_once(ModuleRef::PIN).map_or(shown, |(path, _)| path);
        let stem = Path::new(path).file_stem().unwrap_or_default().to_string_lossy();
        match Name::parse(&stem) {
            Ok(name) if !name.0.contains(['<', '>']) => name.0,
            _ => "filter".to_owned(),
        }
    }
}

impl Scalar for ModuleRef {
    const EXPECTED: &'static str = "the path of a module";

    fn parse(text: &str) -> Result<ModuleRef, Unfit> {
        if let Some(("oci" | "http" | "https", _)) = text.split_once("://") {
            return Err(Unfit::not_supported());
        }
        let (path, pin) = text.rsplit_once(ModuleRef::PIN).map_or((text, None), |(path, pin)| (path, Some(pin)));
        if path.is_empty() || path.contains('\0') || path.contains("://") {
            return Err(Unfit::value("is not the path of a module"));
        }
        let wrong = |_| Unfit::value("ends in no SHA-256; write its 64 hexadecimal digits after \"@sha256:\"");
        let sha256 = pin.map(Sha256::parse).transpose().map_err(wrong)?;
        Ok(ModuleRef { path: path.into(), sha256 })
    }

    fn spell(&self) -> Value {
        let pin = self.sha256.map(|sha256| format!("{}{sha256}", ModuleRef::PIN)).unwrap_or_default();
        format!("{}{pin}", self.path.display()).into()
    }
}

/// What a module's bytes hash to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sha256(pub(crate) [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Scalar for Sha256 {
    const EXPECTED: &'static str = "64 hexadecimal digits";

    fn parse(text: &str) -> Result<Sha256, Unfit> {
        let unfit = || Unfit::value("is not a SHA-256; write its 64 hexadecimal digits");
        let mut hash = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unfit());
        }
        for (index, byte) in hash.iter_mut().enumerate() {
            let digits = text.get(2 * index..2 * index + 2).ok_or_else(unfit)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| unfit())?;
        }
        Ok(Sha256(hash))
    }

    fn spell(&self) -> Value {
        self.to_string().into()
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" })
    }
}

/// The name of a variable that a guest sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnvName(pub(crate) String);

impl Scalar for EnvName {
    const EXPECTED: &'static str = "the name of a variable";

    fn parse(text: &str) -> Result<EnvName, Unfit> {
        match text.is_empty() || text.contains(['=', '\0']) {
            true => Err(Unfit::value("is not the name of a variable")),
            false => Ok(EnvName(text.to_owned())),
        }
    }

    fn spell(&self) -> Value {
        self.0.as_str().into()
    }
}

/// The value of a variable that a guest sees; a NUL byte ends it there, so it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnvValue(pub(crate) String);

impl Scalar for EnvValue {
    const EXPECTED: &'static str = "text";

    fn parse(text: &str) -> Result<EnvValue, Unfit> {
        match text.contains('\0') {
            true => Err(Unfit::value("has a NUL byte, which no variable can have")),
            false => Ok(EnvValue(text.to_owned())),
        }
    }

    fn spell(&self) -> Value {
        self.0.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_called_after_its_file() {
        assert_eq!(ModuleRef::stem("../modules/addh.wasm"), "addh");
        assert_eq!(ModuleRef::stem("<redacted>/addh.wasm"), "addh");
        assert_eq!(ModuleRef::stem("addh@sha256:00"), "addh");
    }

    #[test]
    fn a_file_name_that_is_no_name_gives_a_plain_one() {
        assert_eq!(ModuleRef::stem("<redacted>"), "filter");
        assert_eq!(ModuleRef::stem("my filter.wasm"), "filter");
    }

    #[test]
    fn a_module_that_is_not_a_file_is_for_later() {
        for text in ["oci://registry/auth@sha256:00", "https://host/auth.wasm", "http://host/auth.wasm"] {
            assert_eq!(ModuleRef::parse(text), Err(Unfit::not_supported()));
        }
    }

    #[test]
    fn a_module_may_be_pinned_by_its_hash() {
        let pinned = format!("a@b.wasm@sha256:{}", "0F".repeat(32));

        let module = ModuleRef::parse(&pinned).unwrap();

        assert_eq!(module, ModuleRef { path: "a@b.wasm".into(), sha256: Some(Sha256([15; 32])) });
        assert_eq!(module.spell(), pinned.to_lowercase());
        assert_eq!(ModuleRef::parse("a.wasm"), Ok(ModuleRef { path: "a.wasm".into(), sha256: None }));
        for text in ["a.wasm@sha256:", "a.wasm@sha256:0f", "@sha256:0f", "ftp://a.wasm"] {
            assert!(ModuleRef::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_hash_has_64_digits() {
        let digits = "0f".repeat(32);
        assert_eq!(Sha256::parse(&digits), Ok(Sha256([15; 32])));
        assert_eq!(Sha256([15; 32]).spell(), digits);
        for text in ["", "0f", &"0g".repeat(32), &"0f".repeat(33), &"é".repeat(32)] {
            assert!(Sha256::parse(text).is_err(), "{text}");
        }
    }
}
