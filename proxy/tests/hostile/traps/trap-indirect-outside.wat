;; Calls behind its table.
(table 10 funcref)
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call_indirect (i32.const 1000000))))
  (i32.const 0))
