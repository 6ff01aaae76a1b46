;; Makes an answer of an honest one that has no body, and keeps the body.
(data (i32.const 1024) ":status")
(data (i32.const 1040) "204")
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_replace_header_map_value
      (i32.const 2) (i32.const 1024) (i32.const 7) (i32.const 1040) (i32.const 3)))))
  (i32.const 0))
