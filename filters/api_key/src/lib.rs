//! A filter that lets a request pass only with a known API key, and tells the upstream whose key it was.
//! It keeps no state, limits no rate, and leaves the response alone.
//!
//! ```json
//! { "header": "x-api-key", "keys": { "mobile-app": "3f9a…", "partner": "c01d…" } }
//! ```
//!
//! `header` may be left out and is then `x-api-key`. At least one client is needed, no secret may be empty, and no two
//! clients may share one.
//!
//! | the request carries | what happens |
//! |---|---|
//! | no key | 401, with `www-authenticate: ApiKey header="x-api-key"` and `{"error":"api key missing","header":"x-api-key"}` |
//! | an unknown key | 403, with `{"error":"api key unknown","header":"x-api-key"}` |
//! | a client's key | the key is removed, `x-api-client: CLIENT` is set, the request goes on |
//!
//! A request that brings its own `x-api-client` loses it. Only the first value of the key header counts. How long the
//! answer takes tells neither which client's key was close nor how much of it was right; it may tell the keys' lengths.

pub mod policy;

#[cfg(target_arch = "wasm32")]
mod glue;
