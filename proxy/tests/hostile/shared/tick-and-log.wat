;; Ticks as often as it may, and logs and grows shared data in each tick.
(data (i32.const 1028) "bomb")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (drop (call $proxy_set_tick_period_milliseconds (i32.const 10)))))
  (i32.const 0))
(func (export "proxy_on_tick") (param i32)
  (i32.store (i32.const 1024) (i32.add (i32.load (i32.const 1024)) (i32.const 1)))
  (drop (call $proxy_log (i32.const 4) (i32.const 1028) (i32.const 4)))
  (drop (call $proxy_set_shared_data (i32.const 1024) (i32.const 8) (i32.const 0) (i32.const 100000) (i32.const 0))))
