;; Answers a gRPC request with a message that would begin a field.
(data (i32.const 2560) "a\0d\0aforged: yes")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_send_local_response (i32.const 403)
      (i32.const 0) (i32.const 0) (i32.const 2560) (i32.const 14) (i32.const 0) (i32.const 0) (i32.const 7)))))
  (i32.const 0))
