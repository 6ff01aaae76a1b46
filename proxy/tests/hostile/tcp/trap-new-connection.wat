;; Traps in proxy_on_new_connection.
(func (export "proxy_on_new_connection") (param i32) (result i32)
  (unreachable)
  (i32.const 0))
