;; Says that it is not done with its exchange, and never is.
(func (export "proxy_on_done") (param i32) (result i32)
  (if (call $evil) (then (return (i32.const 0))))
  (i32.const 1))
