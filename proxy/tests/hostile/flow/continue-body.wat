;; Pauses in each body callback, and goes on in the same call.
(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (drop (call $proxy_continue_stream (i32.const 0)))
    (return (i32.const 1))))
  (i32.const 0))
