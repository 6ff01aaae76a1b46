;; Queues two messages for each one it hears of.
(data (i32.const 1024) "feed")
(func (export "proxy_on_configure") (param i32 i32) (result i32)
  (call $owed (i32.const 0) (call $proxy_register_shared_queue (i32.const 1024) (i32.const 4) (i32.const 1040)))
  (i32.const 1))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (drop (call $proxy_enqueue_shared_queue (i32.load (i32.const 1040)) (i32.const 1024) (i32.const 4)))))
  (i32.const 0))
(func (export "proxy_on_queue_ready") (param i32 i32)
  (drop (call $proxy_enqueue_shared_queue (i32.load (i32.const 1040)) (i32.const 1024) (i32.const 4)))
  (drop (call $proxy_enqueue_shared_queue (i32.load (i32.const 1040)) (i32.const 1024) (i32.const 4)))
  (drop (call $proxy_dequeue_shared_queue (i32.load (i32.const 1040)) (i32.const 1048) (i32.const 1052)))
  (global.set $next (i32.const 65536)))
