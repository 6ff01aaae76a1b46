;; Sets five thousand timers.
(data (i32.const 1024) "tollgate.set_timer")
(data (i32.const 1048) "\ff\ff\ff\7f")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $left i32)
  (if (call $evil) (then
    (local.set $left (i32.const 5000))
    (loop $more
      (drop (call $proxy_call_foreign_function
        (i32.const 1024) (i32.const 18) (i32.const 1048) (i32.const 4) (i32.const 0) (i32.const 0)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))
    (call $owed (i32.const 10) (call $proxy_call_foreign_function
      (i32.const 1024) (i32.const 18) (i32.const 1048) (i32.const 4) (i32.const 0) (i32.const 0)))))
  (i32.const 0))
