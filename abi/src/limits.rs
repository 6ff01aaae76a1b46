//! Every bound of this crate: what a module may be, what a VM may use, what one hostcall may carry.
//!
//! The structs are the embedder's to set; the constants protect the host whatever the embedder sets.

use std::time::Duration;

/// The longest name, value, path or log line a hostcall reads.
pub(crate) const STRING: u32 = 64 * 1024;
/// The largest serialised list of pairs a hostcall reads.
pub(crate) const PAIRS_BYTES: u32 = 1024 * 1024;
/// The longest list of pairs a hostcall reads.
pub(crate) const PAIRS: usize = 1024;
/// The most bytes one call writes into a buffer, sends as a local response or stores as a property. They lie in guest
/// memory already, so this bounds one copy, not the guest.
pub(crate) const SLICE: u32 = 16 * 1024 * 1024;
/// The most bytes of requests that one VM may have under way at one time.
pub(crate) const CALLOUT_BYTES: usize = 64 * 1024 * 1024;
/// The most bytes that `uncompress` makes.
#[cfg(feature = "functions")]
pub(crate) const UNCOMPRESSED: usize = 16 * 1024 * 1024;
/// The longest private key in DER that `sign` takes.
#[cfg(feature = "functions")]
pub(crate) const PRIVATE_KEY: usize = 3 * 1024;
/// The longest modulus of RSA, in bytes, with which `sign` signs: one signature takes a few milliseconds.
#[cfg(feature = "functions")]
pub(crate) const RSA_SIGNER: usize = 512;
/// The most bytes of arguments that `tollgate.jwt_verify` takes.
#[cfg(feature = "functions")]
pub(crate) const JWT: usize = 128 * 1024;
/// The most issuers, audiences or algorithms in one call of `tollgate.jwt_verify`.
#[cfg(feature = "functions")]
pub(crate) const JWT_LIST: usize = 32;
/// The most keys of a set that one call of `tollgate.jwt_verify` tries.
#[cfg(feature = "functions")]
pub(crate) const JWT_KEYS: usize = 8;
/// The most properties one VM may declare.
#[cfg(feature = "functions")]
pub(crate) const DECLARATIONS: usize = 64;
/// The shortest time of a one-shot timer; shorter ones wait as long, so that timers cannot follow each other without end.
pub(crate) const SHORTEST_TIMER: Duration = Duration::from_millis(10);
/// The longest host name that can be looked up (RFC 1035, in text).
pub(crate) const HOST_NAME: usize = 253;
/// The most random bytes one call may ask for.
pub(crate) const RANDOM: u32 = 64 * 1024;
/// The most vectors one `fd_write` may gather.
pub(crate) const IOVECS: u32 = 1024;
/// The most segments of a property path.
pub(crate) const PATH_SEGMENTS: usize = 32;
/// The most actions one guest entry may queue.
pub(crate) const ACTIONS: usize = 1024;
/// The most exchanges one guest entry may borrow through `proxy_set_effective_context`.
pub(crate) const BORROWED: usize = 1024;
/// Tables of one module: no toolchain for filters makes a second.
pub(crate) const TABLES: u32 = 1;
/// The most mutable globals that an image holds; toolchains make a handful.
pub(crate) const IMAGE_GLOBALS: usize = 1_000;
/// Elements that the table of a pooled instance may have.
pub(crate) const SLOT_TABLE: usize = 20_000;
/// Bytes that the engine itself may need for a pooled instance: 32 for each function whose address is taken, and the globals.
pub(crate) const SLOT_INSTANCE: usize = 4 * 1024 * 1024;
/// Bytes of the table that are written over in an unused slot, and not given back: what most tables have.
pub(crate) const SLOT_TABLE_RESIDENT: usize = 16 * 1024;
/// Bytes that the exchanges of one VM may have touched, besides those of its image, for it to be rewound: all of them are
/// looked at from then on, and past this another instance costs less.
pub(crate) const REWIND: usize = 1024 * 1024;
/// How deep guest code may recurse, in bytes of stack.
pub(crate) const WASM_STACK: usize = 512 * 1024;

/// What a module may be. Checked before a byte of it is compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleLimits {
    /// Bytes of the whole module.
    pub bytes: usize,
    /// Functions it defines.
    pub functions: u32,
    /// Bytes of one function body. Compile time grows faster than the body, and one function compiles on one core.
    pub body_bytes: usize,
    /// Things it imports.
    pub imports: u32,
    /// Things it exports. AssemblyScript exports the members of every class.
    pub exports: u32,
}

impl Default for ModuleLimits {
    fn default() -> Self {
        ModuleLimits {
            bytes: 16 * 1024 * 1024,
            functions: 50_000,
            body_bytes: 2 * 1024 * 1024,
            imports: 1_000,
            exports: 2_000,
        }
    }
}

/// What one VM may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory. Growing past it answers −1 to the guest; starting past it fails the start.
    pub memory: usize,
    /// Elements of the table; growing past it answers −1.
    pub table_elements: usize,
    /// CPU time of one guest entry once the VM serves.
    pub callback: Duration,
    /// CPU time of everything from instantiation to the end of `proxy_on_configure`, together.
    pub start: Duration,
    /// The wall-clock cap of an entry is its CPU budget times this, so that a slow host does not fail an innocent guest. It
    /// counts only for a guest that has used its budget divided by this: one that was merely preempted is left alone.
    pub wall_factor: u32,
    /// What it may ask of upstreams.
    pub callouts: CalloutLimits,
    /// One-shot timers that wait at one time.
    pub timers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: 64 * 1024 * 1024,
            table_elements: 10_000,
            callback: Duration::from_millis(10),
            start: Duration::from_secs(10),
            wall_factor: 10,
            callouts: CalloutLimits::default(),
            timers: 1_000,
        }
    }
}

/// What one VM may ask of upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalloutLimits {
    /// Callouts that one guest entry may begin.
    pub per_callback: usize,
    /// Callouts that one exchange or connection may begin.
    pub per_stream: usize,
    /// Callouts under way at one time.
    pub in_flight: usize,
    /// The longest wait for an answer: longer ones, and a wait without end, are cut to it.
    pub timeout: Duration,
}

impl Default for CalloutLimits {
    fn default() -> Self {
        CalloutLimits { per_callback: 4, per_stream: 8, in_flight: 100, timeout: Duration::from_secs(5) }
    }
}

/// Bounds of the shared queues of one `vm_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Queues.
    pub queues: usize,
    /// Messages that wait in one queue.
    pub messages: usize,
    /// Bytes of all messages that wait.
    pub bytes: usize,
}

impl QueueLimits {
    /// The larger of each bound.
    pub(crate) fn widest(&self, other: &QueueLimits) -> QueueLimits {
        QueueLimits {
            queues: self.queues.max(other.queues),
            messages: self.messages.max(other.messages),
            bytes: self.bytes.max(other.bytes),
        }
    }
}

impl Default for QueueLimits {
    fn default() -> Self {
        QueueLimits { queues: 100, messages: 1_000, bytes: 16 * 1024 * 1024 }
    }
}

/// Something a guest can only have so much of, as the embedder counts refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Quota {
    SharedData,
    Queue,
    Callout,
    Timer,
    Property,
    MetricSeries,
    Log,
}

impl Quota {
    /// Every quota, in the order of the enum.
    pub const ALL: [Quota; 7] = [
        Quota::SharedData,
        Quota::Queue,
        Quota::Callout,
        Quota::Timer,
        Quota::Property,
        Quota::MetricSeries,
        Quota::Log,
    ];

    /// A word for metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Quota::SharedData => "shared_data",
            Quota::Queue => "queue",
            Quota::Callout => "callout",
            Quota::Timer => "timer",
            Quota::Property => "property",
            Quota::MetricSeries => "metric_series",
            Quota::Log => "log",
        }
    }
}

/// Bounds of one `SharedData`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedDataLimits {
    /// Keys.
    pub keys: usize,
    /// Bytes of one value.
    pub value: usize,
    /// Bytes of all keys and values.
    pub total: usize,
}

impl Default for SharedDataLimits {
    fn default() -> Self {
        SharedDataLimits { keys: 10_000, value: 1024 * 1024, total: 16 * 1024 * 1024 }
    }
}
