//! Every hostcall with the types of its words, once for the parser and the caller alike.
//! Which of them are outputs, and what they mean, is for `policy` to say.

/// Hands the list to the macro `$user`.
macro_rules! imports {
    ($user:ident) => {
        $user! {
            proxy_log(u32, *mut u8, u32);
            proxy_get_log_level(*mut u8);
            proxy_get_current_time_nanoseconds(*mut u8);
            proxy_set_tick_period_milliseconds(u32);
            proxy_set_effective_context(u32);
            proxy_done();
            proxy_get_status(*mut u8, *mut u8, *mut u8);
            proxy_call_foreign_function(*mut u8, u32, *mut u8, u32, *mut u8, *mut u8);
            proxy_get_property(*mut u8, u32, *mut u8, *mut u8);
            proxy_set_property(*mut u8, u32, *mut u8, u32);
            proxy_get_buffer_bytes(u32, u32, u32, *mut u8, *mut u8);
            proxy_get_buffer_status(u32, *mut u8, *mut u8);
            proxy_set_buffer_bytes(u32, u32, u32, *mut u8, u32);
            proxy_get_header_map_pairs(u32, *mut u8, *mut u8);
            proxy_set_header_map_pairs(u32, *mut u8, u32);
            proxy_get_header_map_value(u32, *mut u8, u32, *mut u8, *mut u8);
            proxy_add_header_map_value(u32, *mut u8, u32, *mut u8, u32);
            proxy_replace_header_map_value(u32, *mut u8, u32, *mut u8, u32);
            proxy_remove_header_map_value(u32, *mut u8, u32);
            proxy_get_header_map_size(u32, *mut u8);
            proxy_continue_stream(u32);
            proxy_close_stream(u32);
            proxy_clear_route_cache();
            proxy_send_local_response(u32, *mut u8, u32, *mut u8, u32, *mut u8, u32, u32);
            proxy_http_call(*mut u8, u32, *mut u8, u32, *mut u8, u32, *mut u8, u32, u32, *mut u8);
            proxy_grpc_call(*mut u8, u32, *mut u8, u32, *mut u8, u32, *mut u8, u32, *mut u8, u32, u32, *mut u8);
            proxy_grpc_stream(*mut u8, u32, *mut u8, u32, *mut u8, u32, *mut u8, u32, *mut u8);
            proxy_grpc_send(u32, *mut u8, u32, bool);
            proxy_grpc_cancel(u32);
            proxy_grpc_close(u32);
            proxy_get_shared_data(*mut u8, u32, *mut u8, *mut u8, *mut u8);
            proxy_set_shared_data(*mut u8, u32, *mut u8, u32, u32);
            proxy_register_shared_queue(*mut u8, u32, *mut u8);
            proxy_resolve_shared_queue(*mut u8, u32, *mut u8, u32, *mut u8);
            proxy_enqueue_shared_queue(u32, *mut u8, u32);
            proxy_dequeue_shared_queue(u32, *mut u8, *mut u8);
            proxy_define_metric(u32, *mut u8, u32, *mut u8);
            proxy_increment_metric(u32, i64);
            proxy_record_metric(u32, i64);
            proxy_get_metric(u32, *mut u8);
        }
    };
}

pub(crate) use imports;
