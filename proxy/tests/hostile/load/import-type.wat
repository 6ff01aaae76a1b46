;; Imports a function in a type that it does not have.
(module
  (import "env" "proxy_log" (func (param i64)))
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024)))
