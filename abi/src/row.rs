//! One import of the table: its name, its type, when it is open, and how it is put on a linker.
//!
//! The table itself is in `hostcall` and `wasi`.

use wasmtime::Linker;

use crate::fault::Fault;
use crate::host::Host;
use crate::signature::{Signature, WireType};
use crate::state::State;
use crate::types::Status;

/// An import that this host offers, in one type.
pub(crate) struct Row<H: Host> {
    pub(crate) name: &'static str,
    pub(crate) params: &'static [WireType],
    pub(crate) results: &'static [WireType],
    /// Puts the function on the linker under the given module name.
    pub(crate) define: fn(&mut Linker<State<H>>, &str) -> wasmtime::Result<()>,
}

impl<H: Host> Row<H> {
    pub(crate) fn signature(&self) -> Signature {
        Signature::new(self.params, self.results)
    }

    pub(crate) fn has_type(&self, signature: &Signature) -> bool {
        self.params == signature.params && self.results == signature.results
    }
}

/// A Rust type that travels as a parameter.
pub(crate) trait Param {
    const WIRE: WireType;
}

impl Param for u32 {
    const WIRE: WireType = WireType::I32;
}

impl Param for u64 {
    const WIRE: WireType = WireType::I64;
}

impl Param for i64 {
    const WIRE: WireType = WireType::I64;
}

/// What a hostcall answers, as the guest gets it.
pub(crate) trait Answer {
    type Wire;
    fn into_wire(self) -> wasmtime::Result<Self::Wire>;
}

impl Answer for Result<(), Fault> {
    type Wire = u32;

    fn into_wire(self) -> wasmtime::Result<u32> {
        match self {
            Ok(()) => Ok(Status::Ok.into()),
            Err(Fault::Status(status)) => Ok(status.into()),
            Err(Fault::Trap(error)) => Err(error),
        }
    }
}

impl Answer for u32 {
    type Wire = u32;

    fn into_wire(self) -> wasmtime::Result<u32> {
        Ok(self)
    }
}

impl Answer for wasmtime::Result<()> {
    type Wire = ();

    fn into_wire(self) -> wasmtime::Result<()> {
        self
    }
}

/// Writes rows: `open name(parameter: type, …) -> status = function;`
///
/// `open` imports may be called at any time; `closed` ones trap while the guest initialises or allocates.
/// In place of a function, `always(number)` answers the same whatever it is asked.
macro_rules! rows {
    ($($gate:ident $name:ident ( $($arg:ident : $type:ty),* ) $(-> $result:ident)? = $($call:ident)::+ $(($answer:expr))? ;)*) => {
        vec![$($crate::row::Row {
            name: stringify!($name),
            params: &[$(<$type as $crate::row::Param>::WIRE),*],
            results: $crate::row::results!($($result)?),
            define: |linker, module| {
                linker.func_wrap(module, stringify!($name), |caller: wasmtime::Caller<'_, $crate::state::State<H>>, $($arg: $type),*| {
                    #[allow(unused_mut, reason = "constant answers do not touch the guest")]
                    let mut guest = $crate::guest::Guest::new(caller);
                    // The guest's allocator may make a hostcall within one: each has its own count.
                    let entered = H::METERS_HOSTCALLS
                        .then(|| (std::mem::take(&mut guest.state().copied), std::time::Instant::now()));
                    let answer = $crate::row::gate!($gate, guest, stringify!($name)).and_then(|()| {
                        let answer = $crate::row::call!(guest, ($($arg),*), $($call)::+ $(($answer))?);
                        $crate::row::Answer::into_wire(answer)
                    });
                    if let Some((outer, entered)) = entered {
                        let elapsed = entered.elapsed();
                        let state = guest.state();
                        let copied = std::mem::replace(&mut state.copied, outer);
                        state.host.hostcall_ended(stringify!($name), elapsed, copied);
                    }
                    answer
                })?;
                Ok(())
            },
        }),*]
    };
}

macro_rules! results {
    () => {
        &[]
    };
    ($result:ident) => {
        &[$crate::signature::WireType::I32]
    };
}

macro_rules! gate {
    (open, $guest:ident, $name:expr) => {{ wasmtime::Result::Ok(()) }};
    (closed, $guest:ident, $name:expr) => {
        $guest.admit($name)
    };
}

macro_rules! call {
    ($guest:ident, ($($arg:ident),*), always ($answer:expr)) => {{
        let _ = (&$guest, $($arg),*);
        u32::from($answer)
    }};
    ($guest:ident, ($($arg:ident),*), $($call:ident)::+) => {
        $($call)::+(&mut $guest, $($arg),*)
    };
}

pub(crate) use {call, gate, results, rows};
