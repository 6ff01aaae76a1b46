;; Has a memory that threads could share.
(module
  (memory (export "memory") 1 2 shared)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024)))
