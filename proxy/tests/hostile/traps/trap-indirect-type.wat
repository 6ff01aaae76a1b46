;; Calls a function in another type than it has.
(table funcref (elem $one))
(func $one)
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (drop (call_indirect (param i32) (result i32) (i32.const 0) (i32.const 0)))))
  (i32.const 0))
