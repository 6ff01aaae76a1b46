;; Hides a second answer in a value.
(data (i32.const 1024) "x-a")
(data (i32.const 1100) "a\0d\0acontent-length: 0\0d\0a\0d\0aHTTP/1.1 200 OK\0d\0aforged: yes\0d\0a\0d\0a")
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $refused (call $proxy_add_header_map_value
      (i32.const 2) (i32.const 1024) (i32.const 3) (i32.const 1100) (i32.const 56)))
    (call $refused (call $proxy_replace_header_map_value
      (i32.const 2) (i32.const 1024) (i32.const 3) (i32.const 1100) (i32.const 56)))))
  (i32.const 0))
