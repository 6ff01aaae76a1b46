;; Traps in proxy_on_delete.
(func (export "proxy_on_delete") (param i32)
  (if (call $evil) (then
    (unreachable))))
