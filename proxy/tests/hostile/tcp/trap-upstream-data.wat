;; Traps in proxy_on_upstream_data.
(func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32)
  (unreachable)
  (i32.const 0))
