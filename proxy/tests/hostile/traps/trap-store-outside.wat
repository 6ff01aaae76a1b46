;; Writes behind its memory.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (i32.store (i32.const -4) (i32.const 7))))
  (i32.const 0))
