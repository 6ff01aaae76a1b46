;; Never returns from proxy_on_configure.
(func (export "proxy_on_configure") (param i32 i32) (result i32)
  (loop $for_ever (br $for_ever))
  (i32.const 1))
