;; Exports more than a module may.
(func $one)
;; repeat 2001 #
(export "e#" (func $one))
