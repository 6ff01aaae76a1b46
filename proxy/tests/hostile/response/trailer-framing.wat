;; Sets a framing field in the trailers of the answer.
(data (i32.const 1024) "transfer-encoding")
(data (i32.const 1100) "chunked")
(func (export "proxy_on_response_trailers") (param i32 i32) (result i32)
  (if (call $evil) (then
    (call $refused (call $proxy_add_header_map_value
      (i32.const 3) (i32.const 1024) (i32.const 17) (i32.const 1100) (i32.const 7)))
    (call $refused (call $proxy_replace_header_map_value
      (i32.const 3) (i32.const 1024) (i32.const 17) (i32.const 1100) (i32.const 7)))))
  (i32.const 0))
