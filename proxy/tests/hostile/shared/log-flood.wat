;; Logs ten thousand lines at once.
(data (i32.const 1024) "flood")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $left i32)
  (if (call $evil) (then
    (local.set $left (i32.const 10000))
    (loop $more
      (drop (call $proxy_log (i32.const 3) (i32.const 1024) (i32.const 5)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))))
  (i32.const 0))
