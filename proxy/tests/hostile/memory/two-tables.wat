;; Has a second table.
(table 1 funcref)
(table 1 funcref)
