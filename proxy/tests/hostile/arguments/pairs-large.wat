;; Hands over a list of most of its memory.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $refused (call $proxy_set_header_map_pairs (i32.const 0) (i32.const 0) (i32.const 1048576)))))
  (i32.const 0))
