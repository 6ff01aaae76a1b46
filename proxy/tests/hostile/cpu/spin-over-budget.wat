;; Returns, but only after several times its budget.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $left i32)
  (if (call $evil) (then
    (local.set $left (i32.const 400000000))
    (loop $work
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $work (local.get $left)))))
  (i32.const 0))
