;; Names maps, buffers, levels, halves, metrics and contexts that there are not.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 2) (call $proxy_log (i32.const 6) (i32.const 0) (i32.const 0)))
    (call $owed (i32.const 2) (call $proxy_log (i32.const -1) (i32.const 0) (i32.const 0)))
    (call $owed (i32.const 2) (call $proxy_get_header_map_pairs (i32.const 8) (i32.const 1024) (i32.const 1028)))
    (call $owed (i32.const 2) (call $proxy_get_header_map_pairs (i32.const -1) (i32.const 1024) (i32.const 1028)))
    (call $owed (i32.const 2) (call $proxy_get_buffer_bytes
      (i32.const 9) (i32.const 0) (i32.const 1) (i32.const 1024) (i32.const 1028)))
    (call $owed (i32.const 2) (call $proxy_continue_stream (i32.const 4)))
    (call $owed (i32.const 2) (call $proxy_close_stream (i32.const -1)))
    (call $owed (i32.const 2) (call $proxy_define_metric (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1024)))
    (call $owed (i32.const 1) (call $proxy_record_metric (i32.const 0x7ffffff0) (i64.const 1)))
    (call $owed (i32.const 2) (call $proxy_set_effective_context (i32.const -1)))
    (call $owed (i32.const 1) (call $proxy_dequeue_shared_queue (i32.const -1) (i32.const 1024) (i32.const 1028)))
    (call $owed (i32.const 2) (call $proxy_grpc_cancel (i32.const -1)))
    (call $owed (i32.const 1) (call $proxy_done))))
  (i32.const 0))
