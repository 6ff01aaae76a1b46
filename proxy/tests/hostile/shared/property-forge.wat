;; Keeps properties under names that belong to the proxy, and finds what the proxy says.
(data (i32.const 1024) "plugin_name")
(data (i32.const 1088) "request\00path")
(data (i32.const 1152) "source\00address")
(data (i32.const 1400) "forged")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (drop (call $proxy_set_property (i32.const 1024) (i32.const 11) (i32.const 1400) (i32.const 6)))
    (drop (call $proxy_set_property (i32.const 1088) (i32.const 12) (i32.const 1400) (i32.const 6)))
    (drop (call $proxy_set_property (i32.const 1152) (i32.const 14) (i32.const 1400) (i32.const 6)))
    (call $owed (i32.const 0) (call $proxy_get_property (i32.const 1024) (i32.const 11) (i32.const 1440) (i32.const 1444)))
    (if (i32.eq (i32.load8_u (i32.load (i32.const 1440))) (i32.const 102)) (then (unreachable)))))
  (i32.const 0))
