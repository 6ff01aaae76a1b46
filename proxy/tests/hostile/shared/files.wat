;; Opens, reads and connects, and finds nothing there.
(data (i32.const 1024) "/etc/passwd")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 44) (call $path_open (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const 11)
      (i32.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 1040)))
    (call $owed (i32.const 44) (call $path_readlink (i32.const 3) (i32.const 1024) (i32.const 11) (i32.const 65536) (i32.const 100) (i32.const 1040)))
    (call $owed (i32.const 8) (call $fd_read (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 1040)))
    (call $owed (i32.const 8) (call $fd_prestat_get (i32.const 3) (i32.const 1040)))
    (call $owed (i32.const 58) (call $sock_accept (i32.const 4) (i32.const 0) (i32.const 1040)))
    (call $owed (i32.const 58) (call $path_unlink_file (i32.const 3) (i32.const 1024) (i32.const 11)))))
  (i32.const 0))
