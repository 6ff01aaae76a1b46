;; Answers from the root, which has nobody to answer, once a request has started the ticks.
(data (i32.const 2560) "forged")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (drop (call $proxy_set_tick_period_milliseconds (i32.const 10)))))
  (i32.const 0))
(func (export "proxy_on_tick") (param i32)
  (call $refused (call $proxy_send_local_response (i32.const 403)
    (i32.const 0) (i32.const 0) (i32.const 2560) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const -1))))
