;; Initialises memory that it does not have.
(data (i32.const 0x7ffffff0) "forged")
