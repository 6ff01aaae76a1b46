;; Writes over what it may only read: its configuration, and bodies that are not there.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $refused (call $proxy_set_buffer_bytes
      (i32.const 7) (i32.const 0) (i32.const 1) (i32.const 512) (i32.const 6)))
    (call $refused (call $proxy_set_buffer_bytes
      (i32.const 6) (i32.const 0) (i32.const 1) (i32.const 512) (i32.const 6)))
    (call $refused (call $proxy_add_header_map_value
      (i32.const 6) (i32.const 512) (i32.const 6) (i32.const 512) (i32.const 6)))))
  (i32.const 0))
