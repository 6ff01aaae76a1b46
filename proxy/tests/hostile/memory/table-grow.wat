;; Takes all table elements it can get.
(table $functions 1 funcref)
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (loop $more
      (br_if $more (i32.ne (table.grow $functions (ref.null func) (i32.const 1000)) (i32.const -1))))
    (call $owed (i32.const -1) (table.grow $functions (ref.null func) (i32.const 100000000)))))
  (i32.const 0))
