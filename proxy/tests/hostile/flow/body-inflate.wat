;; Makes the body of an answer larger until it may not.
(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (local $left i32)
  (if (call $evil) (then
    (local.set $left (i32.const 40))
    (loop $more
      (drop (call $proxy_set_buffer_bytes
        (i32.const 1) (i32.const 0x7fffffff) (i32.const 0) (i32.const 65536) (i32.const 900000)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))
    (call $refused (call $proxy_set_buffer_bytes
      (i32.const 1) (i32.const 0x7fffffff) (i32.const 0) (i32.const 65536) (i32.const 900000)))))
  (i32.const 0))
