;; Answers twice; only the first counts.
(data (i32.const 2560) "no\0a")
(data (i32.const 3072) "forged")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_send_local_response (i32.const 403)
      (i32.const 0) (i32.const 0) (i32.const 2560) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const -1)))
    (call $refused (call $proxy_send_local_response (i32.const 200)
      (i32.const 0) (i32.const 0) (i32.const 3072) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const -1)))))
  (i32.const 0))
