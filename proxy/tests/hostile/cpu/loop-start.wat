;; Never returns from _start.
(func (export "_start") (loop $for_ever (br $for_ever)))
