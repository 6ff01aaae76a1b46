;; Traps in proxy_on_grpc_receive, while its exchange waits.
(data (i32.const 1024) "grpc")
(data (i32.const 1200) "S")
(data (i32.const 1300) "M")
(data (i32.const 1100) "")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_grpc_call
      (i32.const 1024) (i32.const 4) (i32.const 1200) (i32.const 1) (i32.const 1300) (i32.const 1)
      (i32.const 1100) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 1040)))
    (return (i32.const 1))))
  (i32.const 0))
(func (export "proxy_on_grpc_receive") (param i32 i32 i32)
  (unreachable))
