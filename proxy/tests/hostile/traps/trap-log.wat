;; Traps in proxy_on_log.
(func (export "proxy_on_log") (param i32)
  (if (call $evil) (then
    (unreachable))))
