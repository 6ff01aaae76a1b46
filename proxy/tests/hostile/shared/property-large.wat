;; Keeps a property larger than one may be.
(data (i32.const 1024) "bomb")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $refused (call $proxy_set_property (i32.const 1024) (i32.const 4) (i32.const 65536) (i32.const 100000)))))
  (i32.const 0))
