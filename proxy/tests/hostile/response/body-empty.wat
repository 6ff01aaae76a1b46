;; Takes the whole body of an answer away.
(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_set_buffer_bytes
      (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0)))))
  (i32.const 0))
