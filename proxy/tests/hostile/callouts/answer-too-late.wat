;; Turns to an exchange that is over when its answer comes.
(data (i32.const 1024) "idp")
(data (i32.const 1100) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\03\00\00\00:method\00GET\00:path\00/\00:authority\00idp\00")
(global $asked (mut i32) (i32.const 0))
(func (export "proxy_on_log") (param i32)
  (if (call $evil) (then
    (global.set $asked (local.get 0))
    (call $owed (i32.const 0) (call $proxy_http_call
      (i32.const 1024) (i32.const 3) (i32.const 1100) (i32.const 63)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 1040))))))
(func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
  (call $owed (i32.const 2) (call $proxy_set_effective_context (global.get $asked))))
