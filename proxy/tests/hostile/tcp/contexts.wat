;; Tries to become every context there could be, as a connection.
(func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32) (local $left i32)
  (local.set $left (i32.const 2))
  (loop $more
    (if (i32.eq (local.get $left) (local.get 0))
      (then (call $owed (i32.const 0) (call $proxy_set_effective_context (local.get $left))))
      (else (call $owed (i32.const 2) (call $proxy_set_effective_context (local.get $left)))))
    (local.set $left (i32.add (local.get $left) (i32.const 1)))
    (br_if $more (i32.lt_u (local.get $left) (i32.const 20000))))
  (i32.const 0))
