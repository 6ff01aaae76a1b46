;; Fills its memory for ever: each round is one instruction.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (loop $for_ever
      (memory.fill (i32.const 65536) (i32.const 7) (i32.const 900000))
      (br $for_ever))))
  (i32.const 0))
