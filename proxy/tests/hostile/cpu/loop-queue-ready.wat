;; Never returns from proxy_on_queue_ready.
(data (i32.const 1024) "jobs")
(func (export "proxy_on_configure") (param i32 i32) (result i32)
  (call $owed (i32.const 0) (call $proxy_register_shared_queue (i32.const 1024) (i32.const 4) (i32.const 1040)))
  (i32.const 1))
(func (export "proxy_on_log") (param i32)
  (if (call $evil) (then
    (drop (call $proxy_enqueue_shared_queue (i32.load (i32.const 1040)) (i32.const 1024) (i32.const 4))))))
(func (export "proxy_on_queue_ready") (param i32 i32)
  (loop $for_ever (br $for_ever)))
