;; Replaces all fields by a list without a path.
(data (i32.const 1024) "\03\00\00\00\07\00\00\00\03\00\00\00\0a\00\00\00\01\00\00\00\08\00\00\00\03\00\00\00:method\00GET\00:authority\00a\00x-forged\00yes\00")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $refused (call $proxy_set_header_map_pairs (i32.const 0) (i32.const 1024) (i32.const 66)))))
  (i32.const 0))
