;; Divides the smallest number by minus one.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))))
  (i32.const 0))
