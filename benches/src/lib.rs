//! What a request costs, measured: the parts that the binaries `proxy-cpu`, `host-run` and `soak` are put together from.
//! Nothing here is linked into the proxy, and `host` alone runs filters. `README.md` tells how to read the figures.

pub mod cores;
pub mod cpu;
pub mod error;
pub mod host;
pub mod http;
pub mod load;
pub mod origin;
pub mod process;
pub mod report;
pub mod rounds;
pub mod stats;
pub mod target;
pub mod tls;
