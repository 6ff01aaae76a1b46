;; Never returns from proxy_on_delete.
(func (export "proxy_on_delete") (param i32)
  (if (call $evil) (then
    (loop $for_ever (br $for_ever)))))
