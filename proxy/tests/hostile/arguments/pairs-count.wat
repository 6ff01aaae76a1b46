;; Hands over a list that says it has four billion pairs.
(data (i32.const 1024) "\ff\ff\ff\ff\07\00\00\00\03\00\00\00\0a\00\00\00\06\00\00\00\05\00\00\00\07\00\00\00:method\00GET\00:authority\00forged\00:path\00/forged\00")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $refused (call $proxy_set_header_map_pairs (i32.const 0) (i32.const 1024) (i32.const 72)))))
  (i32.const 0))
