;; Reads the environment, and finds nothing of its host there.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $environ_sizes_get (i32.const 1024) (i32.const 1028)))
    (call $owed (i32.const 0) (i32.load (i32.const 1024)))
    (call $owed (i32.const 0) (i32.load (i32.const 1028)))
    (call $owed (i32.const 0) (call $args_sizes_get (i32.const 1024) (i32.const 1028)))
    (call $owed (i32.const 0) (i32.load (i32.const 1024)))))
  (i32.const 0))
