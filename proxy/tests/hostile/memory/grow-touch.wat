;; Takes all memory it can get, and writes to every page of it.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $page i32)
  (if (call $evil) (then
    (loop $more
      (local.set $page (memory.grow (i32.const 1)))
      (if (i32.ne (local.get $page) (i32.const -1)) (then
        (memory.fill (i32.shl (local.get $page) (i32.const 16)) (i32.const 7) (i32.const 65536))
        (br $more))))))
  (i32.const 0))
