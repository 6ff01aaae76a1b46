;; Gathers output from a million places, and from places outside its memory.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 28) (call $fd_write (i32.const 1) (i32.const 1024) (i32.const 1000000) (i32.const 1040)))
    (i32.store (i32.const 1024) (i32.const 1048570))
    (i32.store (i32.const 1028) (i32.const 100))
    (call $owed (i32.const 21) (call $fd_write (i32.const 1) (i32.const 1024) (i32.const 1) (i32.const 1040)))
    (call $owed (i32.const 21) (call $fd_write (i32.const 1) (i32.const -8) (i32.const 1) (i32.const 1040)))
    (call $owed (i32.const 8) (call $fd_write (i32.const 3) (i32.const 1024) (i32.const 1) (i32.const 1040)))))
  (i32.const 0))
