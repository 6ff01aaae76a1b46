//! Configurations to start from. Nothing is built here: the files are in `config/`, and `tests/` reads every one of them.
//!
//! | file | shows |
//! |---|---|
//! | `config/six_lines.yaml` | the short form: listen, route, target, filter |
//! | `config/edge.yaml` | two listeners, named clusters and filters, limits, matches, an access log |
//! | `config/sidecar.yaml` | inbound and outbound beside one service, connections spread evenly |
//!
//! Their modules are those that `make filters` builds. `tollgate check examples/config/edge.yaml` starts every filter of a
//! file once and says what would serve; `tollgate run --config examples/config/edge.yaml` serves it.
