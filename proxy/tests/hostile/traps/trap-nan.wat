;; Makes an integer of what is no number.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (drop (i32.trunc_f64_s (f64.const nan)))))
  (i32.const 0))
