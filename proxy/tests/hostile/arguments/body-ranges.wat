;; Replaces parts of a body that are not there.
(data (i32.const 1024) "y")
(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_set_buffer_bytes
      (i32.const 0) (i32.const 3) (i32.const -1) (i32.const 1024) (i32.const 1)))
    (call $owed (i32.const 6) (call $proxy_set_buffer_bytes
      (i32.const 0) (i32.const -1) (i32.const -1) (i32.const -1) (i32.const -1)))
    (call $owed (i32.const 0) (call $proxy_get_buffer_bytes
      (i32.const 0) (i32.const -2) (i32.const 1) (i32.const 1040) (i32.const 1044)))))
  (i32.const 0))
