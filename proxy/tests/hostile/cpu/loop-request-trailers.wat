;; Never returns from proxy_on_request_trailers.
(func (export "proxy_on_request_trailers") (param i32 i32) (result i32)
  (if (call $evil) (then
    (loop $for_ever (br $for_ever))))
  (i32.const 0))
