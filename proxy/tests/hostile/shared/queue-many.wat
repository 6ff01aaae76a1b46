;; Registers two hundred queues.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $left i32)
  (if (call $evil) (then
    (local.set $left (i32.const 200))
    (loop $more
      (i32.store (i32.const 1024) (local.get $left))
      (drop (call $proxy_register_shared_queue (i32.const 1024) (i32.const 4) (i32.const 1040)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))
    (i32.store (i32.const 1024) (i32.const 0))
    (call $over_quota (call $proxy_register_shared_queue (i32.const 1024) (i32.const 4) (i32.const 1040)))))
  (i32.const 0))
