;; Piles ten thousand operands up before it adds them.
(func $pile (result i32)
  ;; repeat 10000
  global.get $next
  ;; repeat 9999
  i32.add
)
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (drop (call $pile))))
  (i32.const 0))
