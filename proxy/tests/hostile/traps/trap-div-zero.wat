;; Divides by zero.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (drop (i32.div_u (i32.const 1) (i32.const 0)))))
  (i32.const 0))
