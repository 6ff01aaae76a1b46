;; Reads what another filter shares under another vm_id.
(data (i32.const 1024) "secret")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 1) (call $proxy_get_shared_data (i32.const 1024) (i32.const 6) (i32.const 1040) (i32.const 1044) (i32.const 1048)))))
  (i32.const 0))
