;; Traps in proxy_on_response_trailers.
(func (export "proxy_on_response_trailers") (param i32 i32) (result i32)
  (if (call $evil) (then
    (unreachable)))
  (i32.const 0))
