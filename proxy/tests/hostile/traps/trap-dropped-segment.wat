;; Initialises memory from a segment that it has dropped.
(data $lost "lost")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (data.drop $lost)
    (memory.init $lost (i32.const 0) (i32.const 0) (i32.const 4))))
  (i32.const 0))
