;; Traps in proxy_on_tick, once an exchange has started the ticks.
(func (export "proxy_on_log") (param i32)
  (if (call $evil) (then
    (drop (call $proxy_set_tick_period_milliseconds (i32.const 10))))))
(func (export "proxy_on_tick") (param i32)
  (unreachable))
