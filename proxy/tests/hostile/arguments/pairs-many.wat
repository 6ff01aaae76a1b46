;; Hands over a list of 1,025 empty pairs.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (i32.store (i32.const 65536) (i32.const 1025))
    (call $refused (call $proxy_set_header_map_pairs (i32.const 0) (i32.const 65536) (i32.const 10254)))))
  (i32.const 0))
