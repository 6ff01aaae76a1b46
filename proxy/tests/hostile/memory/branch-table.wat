;; Jumps through a table of a hundred thousand targets.
(func $jump (param i32)
  block
  local.get 0
  br_table
  ;; repeat 100000
  0
  end
)
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $jump (i32.const 99999))))
  (i32.const 0))
