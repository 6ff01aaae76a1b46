;; Has a function of more parameters than WebAssembly allows.
(func $many
  ;; repeat 1001
  (param i32)
)
