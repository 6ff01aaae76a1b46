;; Says again and again that it is done.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 1) (call $proxy_done))))
  (i32.const 0))
(func (export "proxy_on_done") (param i32) (result i32)
  (drop (call $proxy_done))
  (drop (call $proxy_done))
  (i32.const 1))
(func (export "proxy_on_delete") (param i32)
  (drop (call $proxy_done))
  (drop (call $proxy_done)))
