;; Sets the status of a request.
(data (i32.const 1024) ":status")
(data (i32.const 1100) "200")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $refused (call $proxy_add_header_map_value
      (i32.const 0) (i32.const 1024) (i32.const 7) (i32.const 1100) (i32.const 3)))
    (call $refused (call $proxy_replace_header_map_value
      (i32.const 0) (i32.const 1024) (i32.const 7) (i32.const 1100) (i32.const 3)))))
  (i32.const 0))
