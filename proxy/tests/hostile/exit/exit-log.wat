;; Ends itself when its exchange is over.
(func (export "proxy_on_log") (param i32)
  (if (call $evil) (then
    (call $proc_exit (i32.const 3)))))
