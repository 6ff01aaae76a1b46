;; Answers when everything is over.
(data (i32.const 2560) "forged")
(func (export "proxy_on_log") (param i32)
  (if (call $evil) (then
    (call $refused (call $proxy_send_local_response (i32.const 403)
      (i32.const 0) (i32.const 0) (i32.const 2560) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const -1))))))
