;; Never returns from proxy_on_log.
(func (export "proxy_on_log") (param i32)
  (if (call $evil) (then
    (loop $for_ever (br $for_ever)))))
