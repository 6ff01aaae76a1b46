;; Wants ten million table elements from the start.
(table 10000000 funcref)
