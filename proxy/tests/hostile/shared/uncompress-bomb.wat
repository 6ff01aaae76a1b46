;; Has the host uncompress what would come to a hundred megabytes.
(data (i32.const 1024) "uncompress")
(data (i32.const 65536) "x\9cc\18")
;; Eight repetitions of 258 bytes of the same, in the fixed code of deflate.
(data (i32.const 1040) "\05\a3`\14\8c\82Q0\0aF\c1(\18")
(func $fill (local $at i32)
  (local.set $at (i32.const 65540))
  (loop $more
    (memory.copy (local.get $at) (i32.const 1040) (i32.const 13))
    (local.set $at (i32.add (local.get $at) (i32.const 13)))
    (br_if $more (i32.lt_u (local.get $at) (i32.const 900000)))))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $fill)
    (call $owed (i32.const 2) (call $proxy_call_foreign_function
      (i32.const 1024) (i32.const 10) (i32.const 65536) (i32.const 800000) (i32.const 0) (i32.const 0)))))
  (i32.const 0))
