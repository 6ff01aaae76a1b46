;; Is not done with its exchange, and traps in the tick that comes after.
(func (export "proxy_on_done") (param i32) (result i32)
  (if (call $evil) (then
    (drop (call $proxy_set_tick_period_milliseconds (i32.const 10)))
    (return (i32.const 0))))
  (i32.const 1))
(func (export "proxy_on_tick") (param i32)
  (unreachable))
