;; Never returns from proxy_on_context_create.
(func (export "proxy_on_context_create") (param i32 i32)
  (if (call $evil) (then
    (loop $for_ever (br $for_ever)))))
