;; Has one function of over two megabytes.
(func $large
  ;; repeat 180000
  i64.const -9000000000000000000 drop
)
