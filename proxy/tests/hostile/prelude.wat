;; What every hostile module has beside what its file says: nothing that harms, and the means to be judged.
;; It takes bytes 512 to 1023 of the memory. Files use 1024 to 65535; what the allocator gives lies behind that.
(data (i32.const 512) "x-evil")

;; True when the request asks for evil, so that the request before and the one after find an honest filter. An empty
;; value is handed over without the allocator.
(func $evil (result i32)
  (i32.eqz (call $proxy_get_header_map_value
    (i32.const 0) (i32.const 512) (i32.const 6) (i32.const 520) (i32.const 524))))

;; Traps where the host answers something else than it owes, which shows as a failure that the table does not expect.
(func $owed (param $wanted i32) (param $status i32)
  (if (i32.ne (local.get $wanted) (local.get $status)) (then (unreachable))))

;; True where the plugin is strict: it has a configuration then.
(func $strict (result i32)
  (drop (call $proxy_get_buffer_status (i32.const 7) (i32.const 528) (i32.const 532)))
  (i32.ne (i32.load (i32.const 528)) (i32.const 0)))

;; A refused change is BAD_ARGUMENT in a strict plugin, and OK without effect in a lenient one.
(func $refused (param $status i32)
  (call $owed (select (i32.const 2) (i32.const 0) (call $strict)) (local.get $status)))

;; What is over a quota is INTERNAL_FAILURE in a strict plugin, and OK without effect in a lenient one.
(func $over_quota (param $status i32)
  (call $owed (select (i32.const 10) (i32.const 0) (call $strict)) (local.get $status)))
