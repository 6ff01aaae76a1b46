;; Names as many bytes as can be counted.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 6) (call $proxy_log (i32.const 2) (i32.const 0) (i32.const -1)))
    (call $owed (i32.const 6) (call $proxy_set_header_map_pairs (i32.const 0) (i32.const 0) (i32.const -1)))
    (call $owed (i32.const 6) (call $proxy_set_buffer_bytes (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))
    (call $owed (i32.const 6) (call $proxy_set_shared_data (i32.const 0) (i32.const -1) (i32.const 0) (i32.const -1) (i32.const 0)))
    (call $owed (i32.const 6) (call $proxy_send_local_response (i32.const 403) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0) (i32.const -1)))))
  (i32.const 0))
