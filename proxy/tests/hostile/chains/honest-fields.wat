;; Removes what an honest filter before it has added, which a filter may, and nothing else.
(data (i32.const 1024) "x-honest")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_remove_header_map_value (i32.const 0) (i32.const 1024) (i32.const 8)))))
  (i32.const 0))
