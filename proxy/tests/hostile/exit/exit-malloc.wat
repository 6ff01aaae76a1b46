;; Ends itself in its allocator.
(global $wild (mut i32) (i32.const 0))
(func (export "proxy_on_memory_allocate") (param i32) (result i32)
  (if (global.get $wild) (then
    (call $proc_exit (i32.const 5))))
  (i32.const 65536))
(data (i32.const 1024) "request\00path")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (global.set $wild (i32.const 1))
    (drop (call $proxy_get_property (i32.const 1024) (i32.const 12) (i32.const 1040) (i32.const 1044)))
    (global.set $wild (i32.const 0))))
  (i32.const 0))
