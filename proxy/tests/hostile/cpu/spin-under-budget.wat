;; Uses a part of its budget in every callback, which it may.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $left i32)
  (if (call $evil) (then
    (local.set $left (i32.const 300000))
    (loop $work
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $work (local.get $left)))))
  (i32.const 0))
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (local $left i32)
  (if (call $evil) (then
    (local.set $left (i32.const 300000))
    (loop $work
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $work (local.get $left)))))
  (i32.const 0))
(func (export "proxy_on_log") (param i32) (local $left i32)
  (if (call $evil) (then
    (local.set $left (i32.const 300000))
    (loop $work
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $work (local.get $left))))))
