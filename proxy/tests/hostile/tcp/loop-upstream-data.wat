;; Never returns from proxy_on_upstream_data.
(func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32)
  (loop $for_ever (br $for_ever))
  (i32.const 0))
