;; Answers with most of its memory, which it may, and with more than it has, which it may not.
(func $answer (param $size i32) (result i32)
  (call $proxy_send_local_response (i32.const 403) (i32.const 0) (i32.const 0)
    (i32.const 65536) (local.get $size) (i32.const 0) (i32.const 0) (i32.const -1)))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 6) (call $answer (i32.const 0x7fffffff)))
    (call $owed (i32.const 0) (call $answer (i32.const 900000)))))
  (i32.const 0))
