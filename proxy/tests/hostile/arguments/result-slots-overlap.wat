;; Has pointer and length of a result written to one place.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_get_header_map_pairs (i32.const 0) (i32.const 1024) (i32.const 1024)))
    (call $owed (i32.const 0) (call $proxy_get_header_map_pairs (i32.const 0) (i32.const 1024) (i32.const 1026)))))
  (i32.const 0))
