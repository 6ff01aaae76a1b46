//! Filters with every key spelled: one policy becomes three, a module alone says how its successor is tried, and a hash
//! stands behind the path it belongs to. Names are given in `chain`.

use crate::file::at::At;
use crate::file::choice::{Module, OnError};
use crate::file::{Allow, Budget, Filter, Policies, Request, SelfTest, Wasm};
use crate::filter::{
    self, Authority, Destination, EmptyBody, GuestErrors, HeaderPause, Isolation, Keeping, Memory, ModuleRef, Plugin,
    Policy, Recycle, Rollout, Sha256, Share,
};
use crate::ratio::Part;
use crate::report::Spot;
use crate::route::Method;
use crate::unit::ByteSize;

use super::{or, quota};

/// The settings said, and the defaults for the others; `vm_id` waits for the name.
pub(super) fn filled(said: Filter) -> Filter {
    let spot = said.spot;
    let allow = said.allow.unwrap_or_else(|| Allow { spot, ..Allow::default() });
    let (wasm, sha256) = module(said.wasm, said.sha256);
    Filter {
        wasm: Module::Tried(Box::new(wasm)),
        sha256,
        root_id: or(said.root_id, String::new(), spot),
        state: or(said.state, Keeping::default(), spot),
        isolation: or(said.isolation, Isolation::default(), spot),
        selftest: Some(said.selftest.into_iter().flatten().map(selftest).collect()),
        on_error: Some(OnError::Each(policies(said.on_error, spot))),
        guest_errors: or(said.guest_errors, GuestErrors::default(), spot),
        budget: Some(budget(said.budget, spot)),
        pause_timeout: or(said.pause_timeout, Plugin::PAUSE_TIMEOUT, spot),
        header_pause: or(said.header_pause, HeaderPause::default(), spot),
        empty_body: or(said.empty_body, EmptyBody::default(), spot),
        allow: Some(Allow {
            spot: allow.spot,
            calls: Some(allow.calls.unwrap_or_default()),
            resolve: Some(allow.resolve.unwrap_or_default()),
        }),
        quota: Some(quota::filled(said.quota, spot)),
        ..said
    }
}

/// The module with its hash and its rules; a hash that contradicts the one behind the path is left beside it.
fn module(said: Module, sha256: Option<At<Sha256>>) -> (Wasm, Option<At<Sha256>>) {
    let wasm = match said {
        Module::Tried(wasm) => *wasm,
        Module::Alone(stable) => {
            Wasm { spot: stable.spot, stable, canary: None, share: None, promote_after: None, rollback_on: None }
        }
    };
    let (stable, sha256) = pinned(wasm.stable, sha256);
    let share = or(wasm.share, Part(Rollout::SHARE), wasm.spot);
    (Wasm { stable, share, ..wasm }, sha256)
}

fn pinned(module: At<ModuleRef>, sha256: Option<At<Sha256>>) -> (At<ModuleRef>, Option<At<Sha256>>) {
    let Some(said) = sha256 else { return (module, None) };
    match module.value.sha256 {
        None => {
            let value = ModuleRef { path: module.value.path.clone(), sha256: Some(said.value) };
            (module.joined(ModuleRef::PIN, &said, value), None)
        }
        Some(pin) => (module, Some(said).filter(|said| said.value != pin)),
    }
}

/// One policy is that of every failure of a call, never of loading.
fn policies(said: Option<OnError>, spot: Spot) -> Policies {
    let said = match said {
        Some(OnError::Each(policies)) => policies,
        Some(OnError::All(policy)) => Policies {
            spot: policy.spot,
            load: None,
            trap: Some(policy.clone()),
            deadline: Some(policy.clone()),
            memory: Some(policy),
        },
        None => Policies { spot, load: None, trap: None, deadline: None, memory: None },
    };
    let default = Policy::default();
    Policies {
        spot: said.spot,
        load: said.load,
        trap: or(said.trap, default, said.spot),
        deadline: or(said.deadline, default, said.spot),
        memory: or(said.memory, default, said.spot),
    }
}

fn selftest(said: SelfTest) -> SelfTest {
    let spot = said.spot;
    let empty = Request { spot, method: None, host: None, path: None, headers: None, body: None };
    let request = said.request.unwrap_or(empty);
    let default = filter::TestRequest::default();
    let request = Request {
        method: or(request.method, Method(default.method), spot),
        host: or(request.host, Authority(default.host), spot),
        path: or(request.path, Destination(default.path), spot),
        ..request
    };
    SelfTest { request: Some(request), ..said }
}

fn budget(said: Option<Budget>, spot: Spot) -> Budget {
    let said = said.unwrap_or_else(|| Budget { spot, ..Budget::default() });
    let default = filter::Budget::default();
    Budget {
        spot: said.spot,
        time: or(said.time, default.time, spot),
        start: or(said.start, default.start, spot),
        memory: or(said.memory, Memory(ByteSize::new(default.memory)), spot),
        share: or(said.share, Share(None), spot),
        recycle: or(said.recycle, Recycle::Part(Part(filter::Budget::RECYCLE)), spot),
    }
}
