;; Asks for more random bytes than it may, and for some outside its memory.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 28) (call $random_get (i32.const 0) (i32.const 3000000)))
    (call $owed (i32.const 21) (call $random_get (i32.const 1048570) (i32.const 100)))))
  (i32.const 0))
