;; Keeps more properties than it may.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $left i32)
  (if (call $evil) (then
    (local.set $left (i32.const 100))
    (loop $more
      (i32.store (i32.const 1024) (local.get $left))
      (drop (call $proxy_set_property (i32.const 1024) (i32.const 4) (i32.const 65536) (i32.const 4096)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))
    (i32.store (i32.const 1024) (i32.const 0))
    (call $refused (call $proxy_set_property (i32.const 1024) (i32.const 4) (i32.const 0) (i32.const 0)))))
  (i32.const 0))
