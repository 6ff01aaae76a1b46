;; Traps on the way back, and stands in its chain twice.
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (unreachable)))
  (i32.const 0))
