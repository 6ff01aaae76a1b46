;; Adds fields until there is no room.
(data (i32.const 1024) "x-bomb")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $left i32)
  (if (call $evil) (then
    (local.set $left (i32.const 2000))
    (loop $more
      (drop (call $proxy_add_header_map_value (i32.const 0) (i32.const 1024) (i32.const 6) (i32.const 1024) (i32.const 6)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))
    (call $refused (call $proxy_add_header_map_value
      (i32.const 0) (i32.const 1024) (i32.const 6) (i32.const 1024) (i32.const 6)))))
  (i32.const 0))
