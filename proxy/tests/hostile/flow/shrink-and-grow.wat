;; Takes a body away in one callback and gives more back than it had.
(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_set_buffer_bytes (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0)))
    (call $owed (i32.const 0) (call $proxy_set_buffer_bytes (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 65536) (i32.const 100000)))))
  (i32.const 0))
