;; Defines more functions than a module may.
;; repeat 50001
(func)
