;; Never returns when its connection is over.
(func (export "proxy_on_log") (param i32)
  (loop $for_ever (br $for_ever)))
