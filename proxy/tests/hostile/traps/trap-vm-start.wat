;; Traps in proxy_on_vm_start.
(func (export "proxy_on_vm_start") (param i32 i32) (result i32)
  (unreachable)
  (i32.const 1))
