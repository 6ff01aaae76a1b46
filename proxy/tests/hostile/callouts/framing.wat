;; Calls with framing of its own, which is left out without a word.
(data (i32.const 1024) "idp")
(data (i32.const 1100) "\07\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\03\00\00\00\0e\00\00\00\01\00\00\00\11\00\00\00\06\00\00\00\0a\00\00\00\08\00\00\00\04\00\00\00\06\00\00\00:method\00GET\00:path\00/\00:authority\00idp\00content-length\009\00Transfer-Encoding\00forged\00connection\00x-forged\00host\00forged\00")
(global $asked (mut i32) (i32.const 0))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (global.set $asked (local.get 0))
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_http_call
      (i32.const 1024) (i32.const 3) (i32.const 1100) (i32.const 169)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 1040)))
    (return (i32.const 1))))
  (i32.const 0))
(func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
  (call $owed (i32.const 0) (call $proxy_set_effective_context (global.get $asked)))
  (call $owed (i32.const 0) (call $proxy_continue_stream (i32.const 0))))
