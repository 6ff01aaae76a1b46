;; Traps in proxy_on_done.
(func (export "proxy_on_done") (param i32) (result i32)
  (if (call $evil) (then
    (unreachable)))
  (i32.const 1))
