;; Removes the pseudo-header :scheme.
(data (i32.const 1024) ":scheme")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $refused (call $proxy_remove_header_map_value (i32.const 0) (i32.const 1024) (i32.const 7)))))
  (i32.const 0))
