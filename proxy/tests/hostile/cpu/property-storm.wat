;; Reads a property for ever, with an allocator that forgets.
(data (i32.const 1024) "request\00path")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (loop $for_ever
      (global.set $next (i32.const 65536))
      (drop (call $proxy_get_property (i32.const 1024) (i32.const 12) (i32.const 1040) (i32.const 1044)))
      (br $for_ever))))
  (i32.const 0))
