;; Sets two timers for each one that fires, in the root context, which never ends.
(data (i32.const 1024) "tollgate.set_timer")
(func $again
  (call $owed (i32.const 0) (call $proxy_set_effective_context (i32.const 1)))
  (drop (call $proxy_call_foreign_function
    (i32.const 1024) (i32.const 18) (i32.const 1048) (i32.const 4) (i32.const 0) (i32.const 0)))
  (drop (call $proxy_call_foreign_function
    (i32.const 1024) (i32.const 18) (i32.const 1048) (i32.const 4) (i32.const 0) (i32.const 0))))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $again)))
  (i32.const 0))
(func (export "proxy_on_foreign_function") (param i32 i32 i32)
  (call $again))
