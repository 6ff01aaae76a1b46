;; Asks for the time for ever: the time goes by in the host.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (loop $for_ever
      (drop (call $proxy_get_current_time_nanoseconds (i32.const 1024)))
      (br $for_ever))))
  (i32.const 0))
