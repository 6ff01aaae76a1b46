;; Raises a signal, and finds that it cannot.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 52) (call $proc_raise (i32.const 9)))))
  (i32.const 0))
