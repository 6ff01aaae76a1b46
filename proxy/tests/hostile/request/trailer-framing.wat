;; Sets a length in the trailers.
(data (i32.const 1024) "content-length")
(data (i32.const 1100) "0")
(func (export "proxy_on_request_trailers") (param i32 i32) (result i32)
  (if (call $evil) (then
    (call $refused (call $proxy_add_header_map_value
      (i32.const 1) (i32.const 1024) (i32.const 14) (i32.const 1100) (i32.const 1)))
    (call $refused (call $proxy_replace_header_map_value
      (i32.const 1) (i32.const 1024) (i32.const 14) (i32.const 1100) (i32.const 1)))))
  (i32.const 0))
