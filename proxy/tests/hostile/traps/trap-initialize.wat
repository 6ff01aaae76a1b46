;; Traps in _initialize.
(func (export "_initialize") (unreachable))
