;; Reads behind its memory.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (drop (i32.load (i32.const 0x7ffffff0)))))
  (i32.const 0))
