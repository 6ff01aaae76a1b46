;; Calls with a list of fields that says it has four billion.
(data (i32.const 1024) "idp")
(data (i32.const 1100) "\ff\ff\ff\ff")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 2) (call $proxy_http_call
      (i32.const 1024) (i32.const 3) (i32.const 1100) (i32.const 4)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 1040)))))
  (i32.const 0))
