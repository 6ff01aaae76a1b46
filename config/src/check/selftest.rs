//! Self-tests from the long form. Every value was found to be fit for a request when it was read.

use crate::error::Code;
use crate::file::at::At;
use crate::file::read::Named;
use crate::file::{Expect, Filter, Request};
use crate::filter::{Expectation, FieldValue, SelfTest, TestRequest};
use crate::report::Report;
use crate::route::HeaderName;

/// The self-tests of a filter; one that expects nothing is reported.
pub(super) fn selftests(said: &Filter, report: &mut Report<'_>) -> Vec<SelfTest> {
    let said = said.selftest.iter().flatten();
    let test = said.map(|said| SelfTest {
        request: said.request.as_ref().map(|said| request(said, report)).unwrap_or_default(),
        expect: expectation(&said.expect, report),
    });
    test.collect()
}

fn request(said: &Request, report: &mut Report<'_>) -> TestRequest {
    let default = TestRequest::default();
    let names = said.headers.iter().flat_map(|named| &named.entries).map(|(name, _)| name);
    for name in names.filter(|name| name.value.0 == "host") {
        let message = "the host of a request is not written as a header; write it as \"host\" beside \"headers\"";
        report.fault(Code::Conflict, name.spot, message);
    }
    TestRequest {
        method: said.method.as_ref().map_or(default.method, |method| method.value.0.clone()),
        host: said.host.as_ref().map_or(default.host, |host| host.value.0.clone()),
        path: said.path.as_ref().map_or(default.path, |path| path.value.0.clone()),
        headers: fields(said.headers.as_ref(), report),
        body: said.body.as_ref().map_or(default.body, |body| body.value.clone().into_bytes()),
    }
}

fn expectation(said: &Expect, report: &mut Report<'_>) -> Expectation {
    let expectation = Expectation {
        status: said.status.as_ref().and_then(|status| u16::try_from(status.value.0).ok()),
        headers: fields(said.headers.as_ref(), report),
        upstream_headers: fields(said.upstream_headers.as_ref(), report),
    };
    // That no key is written, and what could not be read, was reported then.
    let empty = |named: &Option<Named<_, _>>| named.as_ref().is_some_and(|named| named.entries.is_empty());
    if expectation == Expectation::default() && (empty(&said.headers) || empty(&said.upstream_headers)) {
        let message = "this expects nothing; write the status, or a header with its value";
        report.fault(Code::BadValue, said.spot, message);
    }
    expectation
}

fn fields(said: Option<&Named<HeaderName, At<FieldValue>>>, report: &mut Report<'_>) -> Vec<(String, String)> {
    super::headers(said, |name| &name.0, |value| Some(value.value.0.clone()), report)
}
