;; Answers a gRPC request with a status that gRPC does not know.
(data (i32.const 2560) "no")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_send_local_response (i32.const 403)
      (i32.const 0) (i32.const 0) (i32.const 2560) (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 4711)))))
  (i32.const 0))
