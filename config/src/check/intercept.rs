//! What a listener's `intercept` means.

use crate::error::Code;
use crate::file::intercept::Interception;
use crate::interception::{Original, Special};
use crate::report::Report;

/// Where the target `original` leads on a listener, and the mark of the sockets that go there.
pub(super) fn original(said: &Interception, report: &mut Report<'_>) -> (Original, Option<u32>) {
    let mut permitted: Vec<Special> = Vec::new();
    for special in said.allow.iter().flatten() {
        if permitted.contains(&special.value) {
            let message = format!("{:?} is written twice", special.shown());
            report.fault(Code::DuplicateName, special.spot, message);
        }
        permitted.push(special.value);
    }
    let original = Original {
        reach: said.reach.as_ref().map(|said| said.value).unwrap_or_default(),
        loopback: permitted.contains(&Special::Loopback),
        link_local: permitted.contains(&Special::LinkLocal),
    };
    (original, said.mark.as_ref().map(|mark| mark.value.0))
}
