//! Whole exchanges through filters: the head of a request, the head of its answer, done, log and delete.
//!
//! What a filter adds is removed natively afterwards, so that maps do not grow.

use std::hint::black_box;

use bytes::Bytes;
use http::HeaderName;
use tollgate::exchange::head::{Fields, ResponseHead};
use tollgate::exchange::stream::FilterStream;
use tollgate_abi::{HeaderMap, Instances, Refusal, StreamCallback, Vm};

use super::bench::{Idle, ask, body, end, exchange, pass, respond, settings, start};
use super::{HostError, Prepared, Setting, Work, code, guests};
use crate::http::{ACCEPTED, ANSWERED, ASKED, header_filter};

/// The names of what the header filter adds, read once: what is undone is no part of the work.
static ADDED: [HeaderName; 2] = [HeaderName::from_static(ASKED.0), HeaderName::from_static(ANSWERED.0)];
/// Bytes of the body that is rewritten.
const BODY: usize = 64 * 1024;

pub(super) const ALL: &[Work] = &[
    Work {
        name: "native-header",
        about: "a field got, one added to each head, and removed, without a filter",
        make: native,
    },
    Work {
        name: "filter-noop",
        about: "an exchange through a filter that does nothing",
        make: |setting| chain(setting, 1),
    },
    Work { name: "filter-header", about: "one that gets a field and adds one to each head", make: header },
    Work { name: "filter-header-10", about: "one that adds ten fields to the request", make: ten_headers },
    Work { name: "filter-body-64k", about: "one that takes a body of 64 KiB, and gives another back", make: rewriting },
    Work { name: "chain-2", about: "an exchange through two noop filters", make: |setting| chain(setting, 2) },
    Work { name: "chain-5", about: "through five", make: |setting| chain(setting, 5) },
    Work { name: "chain-10", about: "through ten", make: |setting| chain(setting, 10) },
];

/// Undoes what it did, and fails where it did not.
pub(super) fn undo_header(stream: &mut FilterStream) -> Result<(), HostError> {
    let [asked, answered] = &ADDED;
    undo(&mut stream.request.fields, asked)?;
    stream.response.iter_mut().try_for_each(|head| undo(&mut head.fields, answered))
}

fn undo(fields: &mut Fields, name: &HeaderName) -> Result<(), HostError> {
    fields.map.remove(name).map(drop).ok_or_else(|| HostError::Unfit(format!("nothing has added the field {name}")))
}

fn unfit(refusal: Refusal) -> HostError {
    HostError::Unfit(refusal.to_string())
}

fn native(_: &Setting) -> Result<Prepared, HostError> {
    let mut stream = exchange()?;
    Prepared::new(move |times| {
        (0..times).try_for_each(|_| {
            // A guest gets a copy too.
            let accepted = stream.request.first(ACCEPTED.0.as_bytes()).unwrap_or_default().to_vec();
            stream.request.add(ASKED.0.as_bytes(), black_box(&accepted)).map_err(unfit)?;
            let answered = |head: &mut ResponseHead| head.add(ANSWERED.0.as_bytes(), ANSWERED.1.as_bytes());
            stream.response.iter_mut().try_for_each(answered).map_err(unfit)?;
            undo_header(black_box(&mut stream))
        })
    })
}

fn header(setting: &Setting) -> Result<Prepared, HostError> {
    alone(setting, &header_filter(), undo_header)
}

fn ten_headers(setting: &Setting) -> Result<Prepared, HostError> {
    let name =
        |number| HeaderName::try_from(format!("x-bench-{number}")).map_err(|error| HostError::Unfit(error.to_string()));
    let names = (0..10).map(name).collect::<Result<Vec<_>, _>>()?;
    let add: serde_json::Map<_, _> = names.iter().map(|name| (name.to_string(), ASKED.1.into())).collect();
    let config = serde_json::json!({ "request": { "add": add } }).to_string();
    alone(setting, &config, move |stream| names.iter().try_for_each(|name| undo(&mut stream.request.fields, name)))
}

/// Exchanges through the header filter with this configuration.
fn alone(
    setting: &Setting,
    config: &str,
    undo: impl Fn(&mut FilterStream) -> Result<(), HostError> + 'static,
) -> Result<Prepared, HostError> {
    let engine = code::engine(setting, Instances::OnDemand)?;
    let module = code::filter(&engine, setting, "filter_headers.wasm")?;
    let mut vm = start(&module, settings(config))?;
    exchanges(move |stream| {
        let mut stream = pass(&mut vm, stream)?;
        undo(&mut stream)?;
        Ok(stream)
    })
}

/// So many filters that do nothing, in turn: the answer comes through them in reverse.
fn chain(setting: &Setting, links: usize) -> Result<Prepared, HostError> {
    let engine = code::engine(setting, Instances::OnDemand)?;
    let module = code::filter(&engine, setting, "filter_noop.wasm")?;
    let vms = (0..links).map(|_| start(&module, settings("")));
    let mut vms: Vec<Vm<Idle>> = vms.collect::<Result<_, _>>()?;
    let mut contexts = Vec::with_capacity(links);
    exchanges(move |mut stream| {
        for vm in &mut vms {
            let (context, back) = ask(vm, stream, true)?;
            contexts.push(context);
            stream = back;
        }
        for (vm, context) in vms.iter_mut().zip(&contexts).rev() {
            stream = respond(vm, *context, stream)?;
        }
        for (vm, context) in vms.iter_mut().zip(contexts.drain(..)) {
            stream = end(vm, context, stream)?;
        }
        Ok(stream)
    })
}

fn rewriting(setting: &Setting) -> Result<Prepared, HostError> {
    let engine = code::engine(setting, Instances::OnDemand)?;
    let module = code::module(&engine, setting, &guests::rewriting()?)?;
    let mut vm = start(&module, settings(""))?;
    let bytes = Bytes::from(vec![b'b'; BODY]);
    exchanges(move |stream| {
        let (context, mut stream) = ask(&mut vm, stream, false)?;
        stream.body = body(&bytes);
        let callback = StreamCallback::RequestBody { size: BODY, end_of_stream: true };
        let (mut stream, action) = vm.deliver(context, stream, callback);
        action?;
        let rewritten = stream.body.take().is_some_and(|(_, body)| body.changed);
        if !rewritten {
            return Err(HostError::Unfit("the body has not been rewritten".to_owned()));
        }
        end(&mut vm, context, stream)
    })
}

/// Does the same with one exchange again and again.
pub(super) fn exchanges(
    mut pass: impl FnMut(Box<FilterStream>) -> Result<Box<FilterStream>, HostError> + 'static,
) -> Result<Prepared, HostError> {
    let mut kept = Some(exchange()?);
    Prepared::new(move |times| {
        (0..times).try_for_each(|_| {
            let stream = kept.take().ok_or_else(|| HostError::Unfit("the exchange went with a failure".to_owned()))?;
            kept = Some(pass(stream)?);
            Ok(())
        })
    })
}
