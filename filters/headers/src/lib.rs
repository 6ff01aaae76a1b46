//! A filter that copies, removes, sets and adds request and response headers as its configuration says.
//! It looks at no body, and at no header it is not told about.
//!
//! ```json
//! {
//!   "request":  { "copy": { "x-client": "user-agent" }, "remove": ["cookie"], "set": { "x-from": "edge" } },
//!   "response": { "remove": ["server"], "set": { "x-frame-options": "DENY" }, "add": { "via": ["1.1 a", "1.1 b"] } }
//! }
//! ```
//!
//! Each side copies first, then removes, then sets, then adds; inside each, the order is the order written. `copy` adds the value
//! of another header where there is one, so that with `remove` a header gets another name; `set` leaves exactly the values given,
//! `add` leaves what is there. Both sides and all their keys are optional, and a side that says nothing makes no hostcall. A key that
//! is not listed here, a name that no header can have and a value that no header can carry are refused when the plugin is
//! configured, with one line in the log.

pub mod policy;

#[cfg(target_arch = "wasm32")]
mod glue;
