;; Grows its memory for every byte it is given, and moves it thereby.
(global $wild (mut i32) (i32.const 0))
(func (export "proxy_on_memory_allocate") (param i32) (result i32)
  (if (global.get $wild) (then
    (drop (memory.grow (i32.const 1)))))
  (i32.const 65536))
(data (i32.const 1024) "request\00path")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $left i32)
  (if (call $evil) (then
    (local.set $left (i32.const 200))
    (global.set $wild (i32.const 1))
    (loop $more
      (call $owed (i32.const 0) (call $proxy_get_property (i32.const 1024) (i32.const 12) (i32.const 1040) (i32.const 1044)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))
    (global.set $wild (i32.const 0))))
  (i32.const 0))
