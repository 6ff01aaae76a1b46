;; Answers with details that would begin a line of the log.
(data (i32.const 2048) "a\0d\0aforged: yes\0d\0a{\22status\22:200}\0a")
(data (i32.const 2560) "no\0a")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_send_local_response (i32.const 403)
      (i32.const 2048) (i32.const 31) (i32.const 2560) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const -1)))))
  (i32.const 0))
