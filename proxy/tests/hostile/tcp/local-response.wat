;; Answers a connection as if it were an exchange.
(data (i32.const 2560) "forged")
(func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
  (call $refused (call $proxy_send_local_response (i32.const 403)
    (i32.const 0) (i32.const 0) (i32.const 2560) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const -1)))
  (i32.const 0))
