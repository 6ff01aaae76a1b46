;; Calls functions that there are not.
(data (i32.const 1024) "system")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 1) (call $proxy_call_foreign_function
      (i32.const 1024) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 1040) (i32.const 1044)))
    (call $owed (i32.const 1) (call $proxy_call_foreign_function
      (i32.const 1024) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1040) (i32.const 1044)))
    (call $owed (i32.const 1) (call $proxy_call_foreign_function
      (i32.const 4096) (i32.const 60000) (i32.const 0) (i32.const 0) (i32.const 1040) (i32.const 1044)))))
  (i32.const 0))
