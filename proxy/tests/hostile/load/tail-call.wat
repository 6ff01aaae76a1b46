;; Uses a proposal that is off.
(func $down (return_call $down))
