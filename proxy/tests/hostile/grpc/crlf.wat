;; Hides a second field in the metadata of a call.
(data (i32.const 1024) "grpc")
(data (i32.const 1200) "S")
(data (i32.const 1300) "M")
(data (i32.const 1100) "\01\00\00\00\03\00\00\00\0e\00\00\00x-a\00a\0d\0aforged: yes\00")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 10) (call $proxy_grpc_call
      (i32.const 1024) (i32.const 4) (i32.const 1200) (i32.const 1) (i32.const 1300) (i32.const 1)
      (i32.const 1100) (i32.const 31) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 1040)))))
  (i32.const 0))
