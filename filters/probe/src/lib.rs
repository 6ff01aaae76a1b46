//! A filter that makes any hostcall, and any mistake, on command: the hand with which tests reach every part of the proxy.
//! It has no purpose in production and must not be loaded there: whoever may send it a request commands it.
//!
//! # Where commands come from
//!
//! The plugin's configuration lists them by callback, and the VM's configuration those of `vm_start`:
//!
//! ```json
//! {
//!   "configure":        ["tick 10", "log info ready"],
//!   "request_headers":  ["set request-headers x-seen yes", "property request.path -> request-headers x-path"],
//!   "response_body":    ["body-buffer", "body-upper", "body-len -> response-headers x-length"],
//!   "log":              ["get response-headers :status"]
//! }
//! ```
//!
//! Callbacks: `vm_start`, `configure`, `tick`, `queue_ready`, `root_done` of the root context; `request_headers`,
//! `request_body`, `request_trailers`, `response_headers`, `response_body`, `response_trailers`, `done`, `log` of a stream
//! context; `call_response`, `grpc_initial`, `grpc_message`, `grpc_trailers`, `grpc_close` and `foreign_function` of
//! whichever asked. A gRPC call that succeeds is its `grpc_message`, one that fails its `grpc_close`. Other keys are refused. No configuration is no command.
//!
//! A request adds commands to its own stream context with headers `x-probe-CALLBACK` (dashes for underscores), as in
//! `x-probe-response-headers: set response-headers x-a 1; remove response-headers server`. They run after the configured
//! ones. They are left in the request. A refused one is answered with 400 and the reason.
//!
//! # How commands are written
//!
//! Words between blanks; `;` ends a command; `%XX` stands for a byte, `''` for an empty word. At most one answer comes of a
//! command: what the hostcall returned, else `ok`, else `status N` when the host refused. Answers other than `ok` are logged
//! as `probe: COMMAND = ANSWER`, refusals as warnings. `-> MAP NAME` at the end also stores the answer in that header; the
//! arrow itself may be left out where the command takes a fixed number of words. Bytes that are no text answer as `0x…`.
//!
//! MAP is `request-headers`, `request-trailers`, `response-headers`, `response-trailers`, `grpc-initial`, `grpc-trailing`,
//! `call-headers`, `call-trailers`; STREAM is `request`, `response`, `downstream`, `upstream`; LEVEL is `trace` to `critical`;
//! KIND is `counter`, `gauge`, `histogram`. Each may be a number instead, wrong ones included.
//!
//! | command | what it does, and its answer |
//! |---|---|
//! | `log LEVEL TEXT…` | writes a line |
//! | `log-level` · `time` | the host's log level · its clock in nanoseconds |
//! | `set MAP NAME VALUE` · `add MAP NAME VALUE` · `remove MAP NAME` | changes a header map |
//! | `get MAP NAME` · `size MAP` | the first value · the map's size in bytes |
//! | `copy MAP NAME -> MAP NAME` | `get`, stored byte for byte; nothing is stored when there is none |
//! | `pairs MAP` · `set-pairs MAP NAME=VALUE,…` | the whole map as `NAME=VALUE,…` with `%XX` · replaces it |
//! | `body-len` · `body-get` | length · content of this callback's body (of a call: the response's) |
//! | `body-set TEXT` · `body-append TEXT` · `body-prepend TEXT` · `body-insert OFFSET TEXT` · `body-upper` | changes it |
//! | `body-buffer` | in a body callback: pauses until the body ended, then the rest of the list runs |
//! | `property PATH.WITH.DOTS` · `set-property PATH VALUE` | reads · writes a property |
//! | `pause` | the callback answers Pause; the rest of the list still runs |
//! | `resume-after-ticks N` | `pause`, and the root context continues this half of the exchange at its Nth tick from now |
//! | `continue STREAM` · `close STREAM` | of the current context |
//! | `reply STATUS BODY [NAME=VALUE…]` | a local response |
//! | `call UPSTREAM TIMEOUT_MS PATH BODY [NAME=VALUE…]` | a callout, GET or with a body POST; the pairs replace its headers, or are trailers when NAME starts with `trailer:`; its id |
//! | `grpc-call UPSTREAM TIMEOUT_MS SERVICE METHOD MESSAGE [NAME=VALUE…]` | a gRPC call; the pairs are its metadata; its id |
//! | `grpc-stream UPSTREAM SERVICE METHOD [NAME=VALUE…]` | opens a gRPC stream; its id |
//! | `grpc-send MESSAGE` · `grpc-last MESSAGE` · `grpc-close` · `grpc-cancel` | on the last gRPC callout of the plugin |
//! | `foreign NAME ARGUMENT` | calls a foreign function; what it returned |
//! | `tick MS` · `effective ID` · `done` | timer period · effective context · end of a root context that refused `root_done` |
//! | `metric KIND NAME VALUE` · `metric-get KIND NAME` | counters are incremented, the others recorded · the value |
//! | `shared-set KEY VALUE [CAS]` · `shared-get KEY` · `shared-cas KEY` | shared data · the value · its compare-and-swap number |
//! | `queue-register NAME` · `queue-put NAME VALUE` · `queue-get NAME` | its id · `ok` · the oldest item |
//! | `raw HOSTCALL ARGUMENT…` | any hostcall by its full name; always the status, then what it returned |
//! | `refuse` | `vm_start`, `configure`, `done`, `root_done` answer false |
//! | `trap` · `panic TEXT…` · `loop` · `recurse` · `exit CODE` | does not return |
//! | `grow BYTES` | allocates, touches and keeps them; `refused` when the host gives no more |
//!
//! An argument of `raw` is a number, `ptr:TEXT` (pointer and length), `pairs:NAME=VALUE,…` (pointer and length of a map),
//! `out` or `out64` (a slot for a number), `out-bytes` or `out-pairs` (slots for pointer and length). A callout that succeeds
//! through `raw` aborts the VM when its response comes, because the SDK does not know its id; `call` is for those.
//!
//! Ids of metrics and queues are asked for once per root context and remembered.

pub mod policy;

mod imports;

#[cfg(target_arch = "wasm32")]
mod glue;
