//! Configurations and guests to start from. Nothing is built here: configurations are in `config/`, and `tests/` reads every
//! one of them; filters in four languages are in `guests/`, and `make examples` builds and runs every one of them.
//!
//! | file | shows |
//! |---|---|
//! | `config/six_lines.yaml` | the short form: listen, route, target, filter |
//! | `config/edge.yaml` | two listeners, named clusters and filters, limits, matches, an access log |
//! | `config/routing.yaml` | shares, answers, redirects, rewrites, changed headers, proxies that are believed |
//! | `config/sidecar.yaml` | inbound and outbound beside one service, connections spread evenly |
//! | `sidecar/tollgate.yaml` | the same with connections that the kernel leads there, and the script that has it do so |
//!
//! Their modules are those that `make filters` builds. `tollgate check examples/config/edge.yaml` starts every filter of a
//! file once and says what would serve; `tollgate run --config examples/config/edge.yaml` serves it.
