;; Has a memory of 64-bit addresses.
(module
  (memory (export "memory") i64 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024)))
