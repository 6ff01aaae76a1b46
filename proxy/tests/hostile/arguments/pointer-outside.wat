;; Names bytes behind its memory, and places for results behind it.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 6) (call $proxy_log (i32.const 2) (i32.const 1048570) (i32.const 16)))
    (call $owed (i32.const 6) (call $proxy_get_current_time_nanoseconds (i32.const 1048572)))
    (call $owed (i32.const 6) (call $proxy_get_header_map_pairs (i32.const 0) (i32.const -4) (i32.const 1024)))
    (call $owed (i32.const 6) (call $proxy_get_header_map_pairs (i32.const 0) (i32.const 1024) (i32.const -4)))
    (call $owed (i32.const 6) (call $proxy_add_header_map_value
      (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 1048576) (i32.const 1)))
    (call $owed (i32.const 6) (call $proxy_set_property (i32.const -1) (i32.const 1) (i32.const 0) (i32.const 0)))))
  (i32.const 0))
