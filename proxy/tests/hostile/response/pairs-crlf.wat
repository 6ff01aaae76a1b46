;; Replaces all fields of the answer, with a second one hidden in the last.
(data (i32.const 1024) "\02\00\00\00\07\00\00\00\03\00\00\00\03\00\00\00\0e\00\00\00:status\00200\00x-a\00a\0d\0aforged: yes\00")
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $refused (call $proxy_set_header_map_pairs (i32.const 2) (i32.const 1024) (i32.const 51)))))
  (i32.const 0))
