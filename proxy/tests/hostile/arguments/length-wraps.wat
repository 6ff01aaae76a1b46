;; Names ranges whose end lies before their beginning.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 6) (call $proxy_log (i32.const 2) (i32.const -16) (i32.const 32)))
    (call $owed (i32.const 6) (call $proxy_add_header_map_value
      (i32.const 0) (i32.const -1) (i32.const 2) (i32.const -2) (i32.const 4)))))
  (i32.const 0))
