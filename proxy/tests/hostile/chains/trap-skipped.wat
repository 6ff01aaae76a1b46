;; Traps before an honest filter is asked, and is left out for it.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (unreachable)))
  (i32.const 0))
