;; Adds and removes one field for ever.
(data (i32.const 1024) "x-storm")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (loop $for_ever
      (drop (call $proxy_replace_header_map_value (i32.const 0) (i32.const 1024) (i32.const 7) (i32.const 0) (i32.const 60000)))
      (drop (call $proxy_remove_header_map_value (i32.const 0) (i32.const 1024) (i32.const 7)))
      (br $for_ever))))
  (i32.const 0))
