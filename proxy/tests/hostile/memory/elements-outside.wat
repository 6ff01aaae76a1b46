;; Initialises table elements that it does not have.
(table 1 funcref)
(func $one)
(elem (i32.const 100000) $one)
