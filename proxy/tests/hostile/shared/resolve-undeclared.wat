;; Looks up a host that it may not.
(data (i32.const 1024) "tollgate.resolve_dns")
(data (i32.const 1048) "metadata.a")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 2) (call $proxy_call_foreign_function
      (i32.const 1024) (i32.const 20) (i32.const 1048) (i32.const 10) (i32.const 0) (i32.const 0)))
    (call $owed (i32.const 2) (call $envoy_resolve_dns (i32.const 1048) (i32.const 10) (i32.const 1064)))))
  (i32.const 0))
