;; Makes a body longer than its declared length.
(data (i32.const 1024) "\0d\0a\0d\0aGET /behind HTTP/1.1\0d\0a\0d\0a")
(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_set_buffer_bytes
      (i32.const 0) (i32.const 0x7fffffff) (i32.const 0) (i32.const 1024) (i32.const 28)))))
  (i32.const 0))
