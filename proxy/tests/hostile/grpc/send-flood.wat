;; Sends a hundred megabytes on a stream in one callback.
(data (i32.const 1024) "grpc")
(data (i32.const 1200) "S")
(data (i32.const 1300) "M")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $left i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_grpc_stream
      (i32.const 1024) (i32.const 4) (i32.const 1200) (i32.const 1) (i32.const 1300) (i32.const 1)
      (i32.const 0) (i32.const 0) (i32.const 1040)))
    (local.set $left (i32.const 120))
    (loop $more
      (drop (call $proxy_grpc_send (i32.load (i32.const 1040)) (i32.const 0) (i32.const 900000) (i32.const 0)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))))
  (i32.const 0))
