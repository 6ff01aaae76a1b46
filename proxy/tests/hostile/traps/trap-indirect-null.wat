;; Calls an empty element of its table.
(table 10 funcref)
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call_indirect (i32.const 3))))
  (i32.const 0))
