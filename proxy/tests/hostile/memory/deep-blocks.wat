;; Nests five thousand blocks.
(func $deep
  ;; repeat 5000
  block
  ;; repeat 5000
  end
)
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $deep)))
  (i32.const 0))
