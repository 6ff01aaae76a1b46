;; Wants to tick every millisecond, and works a little in each tick.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (drop (call $proxy_set_tick_period_milliseconds (i32.const 1)))))
  (i32.const 0))
(func (export "proxy_on_tick") (param i32) (local $left i32)
  (local.set $left (i32.const 100000))
  (loop $work
    (local.set $left (i32.sub (local.get $left) (i32.const 1)))
    (br_if $work (local.get $left))))
