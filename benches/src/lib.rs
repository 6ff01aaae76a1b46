//! What a request costs, measured: the parts that the binaries `proxy-bench`, `host-run` and `soak` are put together from.
//! Nothing here is linked into the proxy, and `host` alone runs filters. `README.md` tells how to read the figures.

pub mod cases;
pub mod cast;
pub mod cores;
pub mod cpu;
pub mod error;
pub mod field;
pub mod fit;
pub mod growth;
pub mod host;
pub mod http;
pub mod instructions;
pub mod load;
pub mod machine;
pub mod memory;
pub mod origin;
pub mod process;
pub mod report;
pub mod results;
pub mod rounds;
pub mod starts;
pub mod stats;
pub mod syscalls;
pub mod target;
pub mod times;
pub mod tls;
