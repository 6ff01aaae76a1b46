;; Answers in place of an answer whose head has left.
(global $seen (mut i32) (i32.const 0))
(data (i32.const 2560) "forged")
(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (if (global.get $seen) (then (call $refused (call $proxy_send_local_response (i32.const 403)
    (i32.const 0) (i32.const 0) (i32.const 2560) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const -1)))))
    (global.set $seen (i32.const 1))))
  (i32.const 0))
