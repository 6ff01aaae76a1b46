;; Logs for ever.
(data (i32.const 1024) "storm")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (loop $for_ever
      (drop (call $proxy_log (i32.const 4) (i32.const 1024) (i32.const 5)))
      (br $for_ever))))
  (i32.const 0))
