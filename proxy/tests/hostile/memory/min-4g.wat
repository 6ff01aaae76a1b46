;; Wants four gigabytes from the start.
(module
  (memory (export "memory") 65536)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024)))
