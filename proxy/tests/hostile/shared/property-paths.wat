;; Asks for properties by paths that are none.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (memory.fill (i32.const 65536) (i32.const 0) (i32.const 100000))
    (call $owed (i32.const 1) (call $proxy_get_property (i32.const 65536) (i32.const 60000) (i32.const 1024) (i32.const 1028)))
    (call $owed (i32.const 1) (call $proxy_get_property (i32.const 65536) (i32.const 1) (i32.const 1024) (i32.const 1028)))
    (call $owed (i32.const 1) (call $proxy_get_property (i32.const 65536) (i32.const 0) (i32.const 1024) (i32.const 1028)))))
  (i32.const 0))
