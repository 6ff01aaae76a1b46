;; Never returns from proxy_on_done.
(func (export "proxy_on_done") (param i32) (result i32)
  (if (call $evil) (then
    (loop $for_ever (br $for_ever))))
  (i32.const 1))
