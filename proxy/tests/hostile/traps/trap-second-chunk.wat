;; Traps in a later part of an answer whose head has left.
(global $seen (mut i32) (i32.const 0))
(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (if (global.get $seen) (then (unreachable)))
    (global.set $seen (i32.const 1))))
  (i32.const 0))
