;; Hides a second field in a name of the answer.
(data (i32.const 1024) "x-a\0aforged")
(data (i32.const 1100) "yes")
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $refused (call $proxy_add_header_map_value
      (i32.const 2) (i32.const 1024) (i32.const 10) (i32.const 1100) (i32.const 3)))
    (call $refused (call $proxy_replace_header_map_value
      (i32.const 2) (i32.const 1024) (i32.const 10) (i32.const 1100) (i32.const 3)))))
  (i32.const 0))
