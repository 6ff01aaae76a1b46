;; Defines metrics whose names would be lines of the page.
(data (i32.const 1024) "a 1\0aforged 2")
(data (i32.const 1088) "a{b=\22\0aforged 1")
(data (i32.const 1152) "")
(data (i32.const 1216) "a\00forged")
(data (i32.const 1280) "a;b=\22}\0aforged 1")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (if (call $evil) (then
    (if (i32.eqz (call $proxy_define_metric (i32.const 0) (i32.const 1024) (i32.const 12) (i32.const 1020))) (then
      (drop (call $proxy_record_metric (i32.load (i32.const 1020)) (i64.const 7)))))
    (if (i32.eqz (call $proxy_define_metric (i32.const 1) (i32.const 1088) (i32.const 14) (i32.const 1020))) (then
      (drop (call $proxy_record_metric (i32.load (i32.const 1020)) (i64.const 7)))))
    (if (i32.eqz (call $proxy_define_metric (i32.const 2) (i32.const 1152) (i32.const 0) (i32.const 1020))) (then
      (drop (call $proxy_record_metric (i32.load (i32.const 1020)) (i64.const 7)))))
    (if (i32.eqz (call $proxy_define_metric (i32.const 0) (i32.const 1216) (i32.const 8) (i32.const 1020))) (then
      (drop (call $proxy_record_metric (i32.load (i32.const 1020)) (i64.const 7)))))
    (if (i32.eqz (call $proxy_define_metric (i32.const 1) (i32.const 1280) (i32.const 15) (i32.const 1020))) (then
      (drop (call $proxy_record_metric (i32.load (i32.const 1020)) (i64.const 7)))))))
  (i32.const 0))
