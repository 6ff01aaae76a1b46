;; Logs a line of most of its memory.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_log (i32.const 3) (i32.const 65536) (i32.const 900000)))))
  (i32.const 0))
