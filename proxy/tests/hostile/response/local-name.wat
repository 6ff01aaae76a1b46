;; Answers with a field without a name.
(data (i32.const 2560) "no\0a")
(data (i32.const 3072) "\01\00\00\00\00\00\00\00\06\00\00\00\00forged\00")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $refused (call $proxy_send_local_response (i32.const 403)
      (i32.const 0) (i32.const 0) (i32.const 2560) (i32.const 3) (i32.const 3072) (i32.const 20) (i32.const -1)))))
  (i32.const 0))
