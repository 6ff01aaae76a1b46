;; Answers with a second status among its fields.
(data (i32.const 2560) "no\0a")
(data (i32.const 3072) "\02\00\00\00\07\00\00\00\03\00\00\00\07\00\00\00\03\00\00\00:status\00200\00:forged\00yes\00")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $refused (call $proxy_send_local_response (i32.const 403)
      (i32.const 0) (i32.const 0) (i32.const 2560) (i32.const 3) (i32.const 3072) (i32.const 44) (i32.const -1)))))
  (i32.const 0))
