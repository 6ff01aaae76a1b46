;; Has the client drop fields of the answer.
(data (i32.const 1024) "connection")
(data (i32.const 1100) "x-forged")
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $refused (call $proxy_add_header_map_value
      (i32.const 2) (i32.const 1024) (i32.const 10) (i32.const 1100) (i32.const 8)))
    (call $refused (call $proxy_replace_header_map_value
      (i32.const 2) (i32.const 1024) (i32.const 10) (i32.const 1100) (i32.const 8)))))
  (i32.const 0))
