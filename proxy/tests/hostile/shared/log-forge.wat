;; Logs a line that would be several, and that would steer a terminal.
(data (i32.const 1024) "a\0d\0aforged: yes\0a2026-01-01T00:00:00Z ERROR forged\1b[31m\1b]0;forged\07\e2\80\a8forged")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_log (i32.const 5) (i32.const 1024) (i32.const 73)))))
  (i32.const 0))
