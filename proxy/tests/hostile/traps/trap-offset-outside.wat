;; Reads behind its memory with an offset that wraps addresses of 32 bits.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (drop (i64.load offset=0xffffffff (i32.const 0xffff)))))
  (i32.const 0))
