;; Has the host compress most of its memory for ever.
(data (i32.const 1024) "compress")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (loop $for_ever
      (drop (call $proxy_call_foreign_function
        (i32.const 1024) (i32.const 8) (i32.const 65536) (i32.const 900000) (i32.const 0) (i32.const 0)))
      (br $for_ever))))
  (i32.const 0))
