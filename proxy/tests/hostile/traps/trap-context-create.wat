;; Traps in proxy_on_context_create.
(func (export "proxy_on_context_create") (param i32 i32)
  (if (call $evil) (then
    (unreachable))))
