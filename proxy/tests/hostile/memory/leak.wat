;; Takes memory until there is none, and then aborts as a Rust guest does.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (loop $more
      (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
      (br $more))))
  (i32.const 0))
