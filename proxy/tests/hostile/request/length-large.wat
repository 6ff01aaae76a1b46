;; Says that the request has more body than comes.
(data (i32.const 1024) "Content-Length")
(data (i32.const 1100) "4096")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $refused (call $proxy_add_header_map_value
      (i32.const 0) (i32.const 1024) (i32.const 14) (i32.const 1100) (i32.const 4)))
    (call $refused (call $proxy_replace_header_map_value
      (i32.const 0) (i32.const 1024) (i32.const 14) (i32.const 1100) (i32.const 4)))))
  (i32.const 0))
