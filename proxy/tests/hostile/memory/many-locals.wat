;; Has a function with more variables than WebAssembly allows.
(func $wide
  ;; repeat 50001
  (local i64)
)
