;; Pauses in proxy_on_request_trailers and never goes on.
(func (export "proxy_on_request_trailers") (param i32 i32) (result i32)
  (if (call $evil) (then
    (return (i32.const 1))))
  (i32.const 0))
