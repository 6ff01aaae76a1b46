;; Replaces all fields by a list that is full of framing, which is left out without a word.
(data (i32.const 1024) "\08\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\0e\00\00\00\0a\00\00\00\07\00\00\00\11\00\00\00\06\00\00\00\0e\00\00\00\01\00\00\00\0a\00\00\00\08\00\00\00\04\00\00\00\06\00\00\00\0a\00\00\00\06\00\00\00:method\00GET\00:path\00/pairs-framing\00:authority\00hostile\00Transfer-Encoding\00forged\00content-length\009\00connection\00x-forged\00host\00forged\00keep-alive\00forged\00")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (call $owed (i32.const 0) (call $proxy_set_header_map_pairs (i32.const 0) (i32.const 1024) (i32.const 212)))))
  (i32.const 0))
