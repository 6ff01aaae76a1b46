;; Nests twenty thousand loops, each of which may begin anew: 120 KB that keep a compiler busy for minutes.
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  ;; repeat 20000
  loop local.get 0 br_if 0
  ;; repeat 20000
  end
  (i32.const 0))
