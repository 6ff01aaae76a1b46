;; Answers with a body where there can be none.
(data (i32.const 2560) "forged")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_send_local_response (i32.const 204)
      (i32.const 0) (i32.const 0) (i32.const 2560) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const -1)))))
  (i32.const 0))
