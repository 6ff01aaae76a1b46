;; Traps when its one-shot timer fires, while its exchange waits.
(data (i32.const 1024) "tollgate.set_timer")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_call_foreign_function
      (i32.const 1024) (i32.const 18) (i32.const 1048) (i32.const 4) (i32.const 0) (i32.const 0)))
    (return (i32.const 1))))
  (i32.const 0))
(func (export "proxy_on_foreign_function") (param i32 i32 i32)
  (unreachable))
