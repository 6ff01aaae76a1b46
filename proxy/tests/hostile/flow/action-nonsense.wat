;; Answers a body callback with a number that means nothing.
(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (return (i32.const 4711))))
  (i32.const 0))
