;; Answers with framing of its own, which is left out without a word.
(data (i32.const 2560) "no\0a")
(data (i32.const 3072) "\03\00\00\00\0e\00\00\00\01\00\00\00\11\00\00\00\06\00\00\00\0a\00\00\00\08\00\00\00content-length\001\00Transfer-Encoding\00forged\00connection\00x-forged\00")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_send_local_response (i32.const 403)
      (i32.const 0) (i32.const 0) (i32.const 2560) (i32.const 3) (i32.const 3072) (i32.const 90) (i32.const -1)))))
  (i32.const 0))
