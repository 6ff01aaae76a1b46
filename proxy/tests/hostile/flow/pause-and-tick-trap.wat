;; Pauses, and traps in the tick that could go on.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (drop (call $proxy_set_tick_period_milliseconds (i32.const 10)))
    (return (i32.const 1))))
  (i32.const 0))
(func (export "proxy_on_tick") (param i32)
  (unreachable))
