;; Traps in its start section.
(func $fall (unreachable))
(start $fall)
