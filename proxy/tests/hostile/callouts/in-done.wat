;; Calls from proxy_on_done, when nobody is left to hear the answer.
(data (i32.const 1024) "idp")
(data (i32.const 1100) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\03\00\00\00:method\00GET\00:path\00/\00:authority\00idp\00")
(func (export "proxy_on_done") (param i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_http_call
      (i32.const 1024) (i32.const 3) (i32.const 1100) (i32.const 63)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 1040)))))
  (i32.const 1))
(func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
)
