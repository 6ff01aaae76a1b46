;; Never returns from its start section.
(func $forever (loop $for_ever (br $for_ever)))
(start $forever)
