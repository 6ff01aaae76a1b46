//! The built-in upstream `echo`: answers with a JSON description of the request that reached it.

use std::collections::BTreeMap;
use std::pin::pin;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde::Serialize;

use crate::error::Abort;
use crate::upstream::body::RequestBody;

/// Most bytes of a body that are shown.
const SHOWN: usize = 16 * 1024;

#[derive(Serialize)]
struct Description<'a> {
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    headers: BTreeMap<String, Values>,
    body: BodyDescription,
}

#[derive(Serialize)]
struct BodyDescription {
    bytes: usize,
    /// The first bytes, as text.
    text: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    trailers: BTreeMap<String, Values>,
}

/// A field that came once is shown as text, one that came often as a list.
#[derive(Serialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Many(Vec<String>),
}

/// Reads the whole request, keeping only its beginning, and describes it.
pub async fn answer(request: &mut Request<RequestBody>) -> Result<Response<Bytes>, Abort> {
    let (parts, body) = std::mem::replace(request, Request::new(RequestBody::Empty)).into_parts();
    let body = describe_body(body).await?;
    let description = Description {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: describe(&parts.headers),
        body,
    };
    let mut json = serde_json::to_vec_pretty(&description).map_err(|_| Abort)?;
    json.push(b'\n');
    let mut response = Response::new(Bytes::from(json));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

async fn describe_body(body: RequestBody) -> Result<BodyDescription, Abort> {
    let mut body = pin!(body);
    let (mut bytes, mut shown, mut trailers) = (0, Vec::new(), BTreeMap::new());
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            bytes += data.len();
            shown.extend_from_slice(&data[..data.len().min(SHOWN - shown.len())]);
        } else if let Some(map) = frame.trailers_ref() {
            trailers = describe(map);
        }
    }
    Ok(BodyDescription { bytes, text: String::from_utf8_lossy(&shown).into_owned(), trailers })
}

fn describe(headers: &HeaderMap) -> BTreeMap<String, Values> {
    let values = |name| {
        let mut all: Vec<String> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        if all.len() == 1 { Values::One(all.remove(0)) } else { Values::Many(all) }
    };
    headers.keys().map(|name| (name.to_string(), values(name))).collect()
}
