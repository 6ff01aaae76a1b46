;; Traps in proxy_on_response_body.
(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (unreachable)))
  (i32.const 0))
