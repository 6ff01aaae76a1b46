;; Traps when the client has closed.
(func (export "proxy_on_downstream_connection_close") (param i32 i32)
  (unreachable))
