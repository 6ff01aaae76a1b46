;; Recurses without end.
(func $down (param i32) (result i32)
  (i32.add (call $down (local.get 0)) (i32.const 1)))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (drop (call $down (i32.const 0)))))
  (i32.const 0))
