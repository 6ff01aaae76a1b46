;; Recurses without end when its exchange is over.
(func $down (result i32)
  (i32.add (call $down) (i32.const 1)))
(func (export "proxy_on_log") (param i32)
  (if (call $evil) (then
    (drop (call $down)))))
