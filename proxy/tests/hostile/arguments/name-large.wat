;; Sets a field and a property whose names are larger than any name may be.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (memory.fill (i32.const 65536) (i32.const 97) (i32.const 70000))
    (call $refused (call $proxy_add_header_map_value
      (i32.const 0) (i32.const 65536) (i32.const 70000) (i32.const 65536) (i32.const 1)))
    (call $refused (call $proxy_set_property (i32.const 65536) (i32.const 70000) (i32.const 65536) (i32.const 1)))
    (call $owed (i32.const 1) (call $proxy_get_header_map_value
      (i32.const 0) (i32.const 65536) (i32.const 70000) (i32.const 1024) (i32.const 1028)))))
  (i32.const 0))
