;; Ends itself in _start, with an error.
(func (export "_start") (call $proc_exit (i32.const 3)))
