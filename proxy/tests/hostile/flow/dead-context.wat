;; Goes on with, answers and closes an exchange that is over.
(global $last (mut i32) (i32.const 0))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (if (global.get $last) (then
      (call $owed (i32.const 2) (call $proxy_set_effective_context (global.get $last)))))))
  (i32.const 0))
(func (export "proxy_on_delete") (param i32)
  (global.set $last (local.get 0)))
