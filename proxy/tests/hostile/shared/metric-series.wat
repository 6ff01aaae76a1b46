;; Defines five thousand metrics.
(data (i32.const 1024) "bomb___")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $left i32)
  (if (call $evil) (then
    (local.set $left (i32.const 5000))
    (loop $more
      (i32.store8 (i32.const 1028) (i32.add (i32.const 97) (i32.rem_u (local.get $left) (i32.const 26))))
      (i32.store8 (i32.const 1029) (i32.add (i32.const 97) (i32.rem_u (i32.div_u (local.get $left) (i32.const 26)) (i32.const 26))))
      (i32.store8 (i32.const 1030) (i32.add (i32.const 97) (i32.div_u (local.get $left) (i32.const 676))))
      (call $owed (i32.const 0) (call $proxy_define_metric (i32.const 0) (i32.const 1024) (i32.const 7) (i32.const 1040)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))))
  (i32.const 0))
