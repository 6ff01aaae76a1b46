;; Copies what lies behind its memory.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (memory.copy (i32.const 0) (i32.const 1048000) (i32.const 100000))))
  (i32.const 0))
