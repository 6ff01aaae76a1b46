;; Fills its table for ever: each round is one instruction.
(table $functions 9000 funcref)
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (loop $for_ever
      (table.fill $functions (i32.const 0) (ref.null func) (i32.const 9000))
      (br $for_ever))))
  (i32.const 0))
