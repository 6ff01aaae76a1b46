;; Adds the largest fields there are to an answer until there is no room.
(data (i32.const 1024) "x-bomb")
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (local $left i32)
  (if (call $evil) (then
    (memory.fill (i32.const 65536) (i32.const 97) (i32.const 65536))
    (local.set $left (i32.const 2000))
    (loop $more
      (drop (call $proxy_add_header_map_value (i32.const 2) (i32.const 1024) (i32.const 6) (i32.const 65536) (i32.const 65536)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))
    (call $refused (call $proxy_add_header_map_value
      (i32.const 2) (i32.const 1024) (i32.const 6) (i32.const 65536) (i32.const 65536)))))
  (i32.const 0))
