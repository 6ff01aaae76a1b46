;; Calls a cluster that it may not call.
(data (i32.const 1024) "idp")
(data (i32.const 1200) "S")
(data (i32.const 1300) "M")
(data (i32.const 1100) "")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 4) (call $proxy_grpc_call
      (i32.const 1024) (i32.const 3) (i32.const 1200) (i32.const 1) (i32.const 1300) (i32.const 1)
      (i32.const 1100) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 1040)))))
  (i32.const 0))
