;; Replaces all fields by none.
(data (i32.const 1024) "\01\00\00\00\08\00\00\00\03\00\00\00x-forged\00yes\00")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $refused (call $proxy_set_header_map_pairs (i32.const 0) (i32.const 1024) (i32.const 25)))))
  (i32.const 0))
