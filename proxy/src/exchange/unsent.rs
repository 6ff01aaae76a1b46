//! An exchange that no client sent: what self-tests show to a filter, and what filters are measured with.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Version};
use tollgate_config::{Limits, TestRequest};

use crate::exchange::head::{Edited, Fields, RequestHead};
use crate::exchange::kept::PropertyQuota;
use crate::exchange::stream::{Facts, FilterStream, Names};

/// The part of a request that no message may carry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {0} of the request cannot be sent")]
pub struct Unfit(String);

/// The exchange at the moment its head was read. Listener, route and cluster are called `name`.
///
/// # Errors
/// Names the part of `request` that is no HTTP.
pub fn stream(name: &str, request: &TestRequest, quota: PropertyQuota) -> Result<FilterStream, Unfit> {
    Ok(FilterStream::new(facts(name, request.body.len(), quota), head(request)?))
}

/// What does not change of an exchange whose request has a body of so many bytes, for one filter.
pub fn facts(name: &str, body: usize, quota: PropertyQuota) -> Facts {
    let [listener, route, cluster] = [name; 3].map(str::to_owned);
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Facts {
        names: Arc::new(Names { listener, direction: Default::default(), route, host: "*".to_owned(), cluster }),
        quotas: [quota].into(),
        source: nowhere,
        destination: nowhere,
        connection: 0,
        secured: None,
        version: Version::HTTP_11,
        started: Instant::now(),
        hops: 0,
        content_length: u64::try_from(body).ok().filter(|length| *length > 0),
    }
}

fn head(request: &TestRequest) -> Result<RequestHead, Unfit> {
    let unfit = |what: &str| Unfit(what.to_owned());
    let mut fields = Fields::new(HeaderMap::new(), Limits::default().headers.max(request.headers.len()));
    for (name, value) in &request.headers {
        let name = header::HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit(name))?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unfit(name.as_str()))?;
        fields.map.append(name, value);
    }
    Ok(RequestHead {
        method: Method::from_bytes(request.method.as_bytes()).map_err(|_| unfit("method"))?,
        scheme: Scheme::HTTP,
        authority: Authority::try_from(request.host.as_str()).map_err(|_| unfit("host"))?,
        path: PathAndQuery::try_from(request.path.as_str()).map_err(|_| unfit("path"))?,
        fields,
        edited: Edited::default(),
    })
}
