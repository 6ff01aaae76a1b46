;; Spoils a body and traps, and is left out for it.
(data (i32.const 1024) "forged")
(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (drop (call $proxy_set_buffer_bytes
      (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 1024) (i32.const 6)))
    (unreachable)))
  (i32.const 0))
