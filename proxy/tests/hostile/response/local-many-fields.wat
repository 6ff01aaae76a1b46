;; Answers with a thousand fields.
(func $fields (local $n i32)
  (i32.store (i32.const 65536) (i32.const 1000))
  (loop $more
    (i32.store (i32.add (i32.const 65540) (i32.mul (local.get $n) (i32.const 8))) (i32.const 1))
    (i32.store (i32.add (i32.const 65544) (i32.mul (local.get $n) (i32.const 8))) (i32.const 1))
    (i32.store (i32.add (i32.const 73540) (i32.mul (local.get $n) (i32.const 4))) (i32.const 0x00620061))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $more (i32.lt_u (local.get $n) (i32.const 1000)))))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $fields)
    (call $owed (i32.const 0) (call $proxy_send_local_response (i32.const 403) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 65536) (i32.const 12004) (i32.const -1)))))
  (i32.const 0))
