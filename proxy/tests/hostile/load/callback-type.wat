;; Exports a callback in a type that it does not have.
(func (export "proxy_on_request_headers") (param i64) (result i64) (local.get 0))
