;; Recurses with a frame of thousands of variables that are all needed afterwards.
(global $sum (mut i64) (i64.const 0))
(func $down (param $depth i64)
  ;; repeat 2000
  (local i64)
  (local.set 1 (local.get $depth))
  (local.set 1999 (i64.add (local.get 1) (i64.const 1)))
  (call $down (i64.add (local.get 1999) (i64.const 1)))
  (global.set $sum (i64.add (local.get 1) (local.get 1999))))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $down (i64.const 0))))
  (i32.const 0))
