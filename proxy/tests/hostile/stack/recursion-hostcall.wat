;; Goes deep, and calls the host at the very bottom of its stack.
(func $down (result i32)
  (drop (call $proxy_log (i32.const 0) (i32.const 0) (i32.const 0)))
  (i32.add (call $down) (i32.const 1)))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (drop (call $down))))
  (i32.const 0))
