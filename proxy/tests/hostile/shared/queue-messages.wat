;; Queues five thousand messages of nothing.
(data (i32.const 1024) "bomb")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $left i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_register_shared_queue (i32.const 1024) (i32.const 4) (i32.const 1040)))
    (local.set $left (i32.const 5000))
    (loop $more
      (drop (call $proxy_enqueue_shared_queue (i32.load (i32.const 1040)) (i32.const 0) (i32.const 0)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))
    (call $over_quota (call $proxy_enqueue_shared_queue (i32.load (i32.const 1040)) (i32.const 0) (i32.const 0)))))
  (i32.const 0))
