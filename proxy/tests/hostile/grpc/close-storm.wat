;; Opens, closes and cancels streams that there are not, or not any more.
(data (i32.const 1024) "grpc")
(data (i32.const 1200) "S")
(data (i32.const 1300) "M")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_grpc_stream
      (i32.const 1024) (i32.const 4) (i32.const 1200) (i32.const 1) (i32.const 1300) (i32.const 1)
      (i32.const 0) (i32.const 0) (i32.const 1040)))
    (call $owed (i32.const 0) (call $proxy_grpc_close (i32.load (i32.const 1040))))
    (call $owed (i32.const 0) (call $proxy_grpc_close (i32.load (i32.const 1040))))
    (call $owed (i32.const 2) (call $proxy_grpc_send (i32.load (i32.const 1040)) (i32.const 0) (i32.const 4) (i32.const 1)))
    (call $owed (i32.const 0) (call $proxy_grpc_cancel (i32.load (i32.const 1040))))
    (call $owed (i32.const 1) (call $proxy_grpc_cancel (i32.load (i32.const 1040))))
    (call $owed (i32.const 1) (call $proxy_grpc_send (i32.load (i32.const 1040)) (i32.const 0) (i32.const 4) (i32.const 1)))))
  (i32.const 0))
