;; Traps in proxy_on_configure.
(func (export "proxy_on_configure") (param i32 i32) (result i32)
  (unreachable)
  (i32.const 1))
