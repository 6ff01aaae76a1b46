//! Images: a VM made from one answers as the VM that was started, without starting.

use tollgate_abi::testing::{RecordingHost, RecordingStream, guest, wat};
use tollgate_abi::{
    BufferType, CallbackKind, Cause, HttpReply, Image, Limits, ModuleError, NoImage, PluginSettings, Refusal,
    VecHeaderMap, Vm,
};

use crate::common::{TestVm, compile, data, encoded, on_request, start, start_calling, start_with, try_start};

/// A guest whose start leaves something in every place: data, memory that it added, globals of each type, a place far from
/// others, and an allocator that has given blocks away. A request tells all of it and changes all of it.
const LADEN: &str = r#"
    (global $count (mut i32) (i32.const 1))
    (global $wide (mut i64) (i64.const 1))
    (global $short (mut f32) (f32.const 1))
    (global $long (mut f64) (f64.const 1))
    (data (i32.const 8192) "as it begins")
    (func $boot (global.set $count (i32.add (global.get $count) (i32.const 10))))
    (start $boot)
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (memory.grow (i32.const 3)))
        (i32.store (i32.mul (i32.const 18) (i32.const 65536)) (i32.const 18))
        (i32.store (i32.const 500000) (i32.const 5))
        (i32.store8 (i32.const 8192) (i32.const 65))
        (global.set $count (i32.add (global.get $count) (i32.const 100)))
        (global.set $wide (i64.const 0x100000002))
        (global.set $short (f32.const 2.5))
        (global.set $long (f64.const 3.5))
        (drop (call $proxy_get_buffer_bytes (i32.const 7) (i32.const 0) (i32.const 100) (i32.const 32) (i32.const 36)))
        (i32.store (i32.const 40) (i32.load (i32.const 32)))
        (i32.const 1))
    (func $all
        (call $tell (memory.size))
        (call $tell (i32.load (i32.mul (i32.const 18) (i32.const 65536))))
        (call $tell (i32.load (i32.const 500000)))
        (call $tell (i32.load8_u (i32.const 8192)))
        (call $tell (global.get $count))
        (call $tell (i32.wrap_i64 (i64.shr_u (global.get $wide) (i64.const 32))))
        (call $tell (i32.reinterpret_f32 (global.get $short)))
        (call $tell (i32.trunc_f64_s (f64.mul (global.get $long) (f64.const 10))))
        (call $tell (i32.load (i32.const 40)))
        (call $tell (i32.load8_u (i32.load (i32.const 40)))))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $all)
        (drop (call $proxy_get_buffer_bytes (i32.const 0) (i32.const 0) (i32.const 9) (i32.const 32) (i32.const 36)))
        (call $tell (i32.load (i32.const 32)))
        (global.set $count (i32.const 0))
        (global.set $wide (i64.const 0))
        (global.set $short (f32.const 0))
        (global.set $long (f64.const 0))
        (memory.fill (i32.const 32) (i32.const 9) (i32.const 1000000))
        (i32.const 0))"#;

/// What `LADEN` tells in its first request: 16 pages and 3, what it wrote, both starts counted, the other globals, the block
/// of its configuration with the first letter, and the block of the body, which comes after it.
const TOLD: [u32; 11] = [19, 18, 5, 65, 111, 1, 0x4020_0000, 35, 65536, 99, 65542];

fn laden() -> TestVm {
    start_with(LADEN, PluginSettings { config: b"config".to_vec(), ..PluginSettings::default() })
}

fn from(image: &Image<RecordingHost>) -> TestVm {
    Vm::from_image(image, RecordingHost::default()).map_err(|(failure, _)| failure).unwrap()
}

fn request(vm: &mut TestVm) -> Vec<u32> {
    vm.host_mut().lines.clear();
    let stream = RecordingStream::request([]).with_buffer(BufferType::RequestBody, b"body");
    let (stream, begun) = vm.begin_stream(stream, 0, true);
    vm.end_stream(begun.unwrap().0, stream).1.unwrap();
    vm.host().told()
}

#[test]
fn a_vm_from_an_image_answers_as_the_one_that_started() {
    let mut started = laden();
    let image = started.image().unwrap();

    let (first, second) = (request(&mut from(&image)), request(&mut from(&image)));

    let expected = request(&mut started);
    assert_eq!(expected, TOLD);
    assert_eq!((first, second), (expected.clone(), expected));
}

#[test]
fn no_guest_code_runs_and_no_entry_is_told_when_a_vm_comes_from_an_image() {
    let image = laden().image().unwrap();

    let mut vm = from(&image);

    assert!(vm.host().entries.is_empty() && vm.host().lines.is_empty());
    assert!(CallbackKind::ALL.iter().all(|kind| vm.exports(*kind) == laden().exports(*kind)));
    assert_eq!(vm.memory_bytes(), 19 * 65536);
    request(&mut vm);
    assert_eq!(vm.host().entries, [CallbackKind::RequestHeaders]);
}

#[test]
fn a_vm_comes_from_an_image_whose_source_has_died() {
    let mut source = start(
        "(func (export \"proxy_on_tick\") (param i32) (unreachable))
        (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) (call $tell (i32.const 7)) (i32.const 0))",
    );
    let image = source.image().unwrap();
    source.tick().unwrap_err();
    drop(source);

    assert_eq!(request(&mut from(&image)), [7]);
}

#[test]
fn an_image_goes_to_other_threads_with_its_settings() {
    let image = laden().image().unwrap();

    let threads = [image.clone(), image].map(|image| {
        std::thread::spawn(move || {
            let mut vm = from(&image);
            (request(&mut vm), vm.settings().config.clone())
        })
    });

    for thread in threads {
        let (told, config) = thread.join().unwrap();
        assert_eq!((&told[..], config), (&TOLD[..], b"config".to_vec()));
    }
}

#[test]
fn an_image_is_taken_before_the_first_entry_or_not_at_all() {
    let mut vm = laden();
    request(&mut vm);

    assert_eq!(vm.image().unwrap_err(), NoImage::Entered);
}

fn refused(body: &str) -> NoImage {
    start(body).image().unwrap_err()
}

#[test]
fn a_module_that_may_change_what_no_image_holds_has_none() {
    let table = "(table $t 4 funcref) (elem $e func $f) (func $f) (data $d \"passive\")";
    let body = |instructions: &str| refused(&format!("{table} (func (export \"other\") {instructions})"));

    assert_eq!(body("(table.set $t (i32.const 0) (ref.func $f))"), NoImage::Table("table.set"));
    assert_eq!(body("(table.fill $t (i32.const 0) (ref.null func) (i32.const 1))"), NoImage::Table("table.fill"));
    assert_eq!(body("(table.copy $t $t (i32.const 0) (i32.const 0) (i32.const 1))"), NoImage::Table("table.copy"));
    assert_eq!(body("(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))"), NoImage::Table("table.init"));
    assert_eq!(body("(drop (table.grow $t (ref.null func) (i32.const 1)))"), NoImage::Table("table.grow"));
    assert_eq!(body("(elem.drop $e)"), NoImage::Segment("elem.drop"));
    assert_eq!(body("(data.drop $d)"), NoImage::Segment("data.drop"));
    assert_eq!(refused("(global (mut funcref) (ref.null func))"), NoImage::Reference);
}

#[test]
fn a_module_that_only_reads_its_table_has_an_image() {
    let mut source = start(
        "(table $t 2 funcref) (elem (i32.const 1) $f) (func $f (result i32) (i32.const 42))
        (type $answer (func (result i32)))
        (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
            (call $tell (call_indirect (type $answer) (i32.const 1))) (i32.const 0))",
    );

    assert_eq!(request(&mut from(&source.image().unwrap())), [42]);
}

#[test]
fn an_image_holds_a_thousand_globals_and_no_more() {
    // The guest has one of its own.
    let globals = |count: usize| "(global (mut i32) (i32.const 0))".repeat(count - 1);

    assert!(start(&globals(1_000)).image().is_ok());
    assert_eq!(refused(&globals(1_001)), NoImage::Globals { count: 1_001, limit: 1_000 });
}

#[test]
fn a_module_that_imports_one_name_in_two_types_starts_and_has_no_image() {
    let bytes = wat(r#"(module
            (import "env" "proxy_grpc_stream" (func (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_grpc_stream" (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 1024)))"#);
    let mut vm = try_start(&compile(&bytes).unwrap(), PluginSettings::default()).unwrap();

    assert_eq!(vm.image().unwrap_err(), NoImage::ImportedTwice("env.proxy_grpc_stream".to_owned()));
}

/// A guest that does `body` at its start; the data segments are what the calls below name.
fn configured_by(body: &str, rest: &str) -> TestVm {
    let headers = encoded(&[(":method", "GET"), (":path", "/"), (":authority", "idp")]);
    let data = [data(4096, b"idp"), data(4112, &headers), data(4224, b"a.host"), data(4240, b"\x0a\x04user\x10\x01")];
    let functions = data_of_functions();
    let guest = format!(
        r#"{}{functions}
        (func (export "proxy_on_configure") (param i32 i32) (result i32) {body} (i32.const 1))
        {rest}"#,
        data.concat()
    );
    start_calling(&guest, PluginSettings::default())
}

/// Names of foreign functions, and the argument of a timer.
fn data_of_functions() -> String {
    [data(4300, b"tollgate.set_timer"), data(4330, &60_000_u32.to_le_bytes()), data(4340, b"declare_property")].concat()
}

const HTTP_CALL: &str =
    "(call $tell (call $proxy_http_call (i32.const 4096) (i32.const 3) (i32.const 4112) (i32.const 63)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 20) (i32.const 32)))
    (call $tell (i32.load (i32.const 32)))";
const LOOK_UP: &str = "(call $tell (call $envoy_resolve_dns (i32.const 4224) (i32.const 6) (i32.const 32)))
    (call $tell (i32.load (i32.const 32)))";
const TIMER: &str =
    "(call $tell (call $proxy_call_foreign_function (i32.const 4300) (i32.const 18) (i32.const 4330) (i32.const 4)
    (i32.const 32) (i32.const 36)))";
const DECLARE: &str =
    "(call $tell (call $proxy_call_foreign_function (i32.const 4340) (i32.const 16) (i32.const 4240) (i32.const 8)
    (i32.const 32) (i32.const 36)))";

#[test]
fn an_image_says_whether_the_start_left_something_under_way() {
    assert_eq!(encoded(&[(":method", "GET"), (":path", "/"), (":authority", "idp")]).len(), 63);
    for (body, is_self_contained) in [("", true), (DECLARE, true), (HTTP_CALL, false), (LOOK_UP, false), (TIMER, false)]
    {
        let mut vm = configured_by(body, "");

        let image = vm.image().unwrap();

        assert!(vm.host().told().iter().step_by(2).all(|status| *status == 0), "{body}");
        assert_eq!(image.is_self_contained(), is_self_contained, "{body}");
    }
}

#[test]
fn what_is_under_way_belongs_to_the_vm_that_asked_and_its_number_to_nobody_else() {
    let again = format!(
        "(func (export \"proxy_on_tick\") (param i32) {HTTP_CALL} {LOOK_UP})
        (func (export \"proxy_on_http_call_response\") (param i32 i32 i32 i32 i32) (call $tell (i32.const 99)))
        (func (export \"envoy_on_resolve_dns\") (param i32 i32 i32) (call $tell (i32.const 99)))",
    );
    let mut source = configured_by(&format!("{HTTP_CALL} {LOOK_UP}"), &again);
    let host = RecordingHost { upstreams: vec!["idp".into()], ..RecordingHost::default() };
    let mut vm = Vm::from_image(&source.image().unwrap(), host).unwrap();
    let (call, _) = source.host().http_calls[0];
    let (token, _) = source.host().lookups[0];

    vm.http_call_ended(
        call,
        Ok(HttpReply { headers: VecHeaderMap::new([(":status", "200")]), ..HttpReply::default() }),
    )
    .unwrap();
    vm.dns_resolved(token, &[]).unwrap();
    vm.tick().unwrap();

    assert_eq!(vm.host().told(), [0, call.get() + 4, 0, token + 1]);
}

#[test]
fn a_property_declared_at_the_start_is_declared_in_each_vm_of_the_image() {
    let set = "(call $tell (call $proxy_set_property (i32.const 4242) (i32.const 4) (i32.const 4096) (i32.const 3)))";
    let rest = on_request("", &format!("{set} {set}"));
    let image = configured_by(DECLARE, &rest).image().unwrap();

    let mut vm = from(&image);

    assert_eq!(request(&mut vm), [0, 0]);
    assert_eq!(vm.host().refused, [("proxy_set_property", Refusal::ReadOnly)]);
}

#[test]
fn the_monotonic_clock_of_a_vm_goes_on_from_that_of_the_start() {
    let now = "(drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 64)))";
    let configure = format!("{now} (i64.store (i32.const 72) (i64.load (i32.const 64)))");
    let later = format!("{now} (call $tell (i64.gt_u (i64.load (i32.const 64)) (i64.load (i32.const 72))))");
    let image = configured_by(&configure, &on_request("", &later)).image().unwrap();

    assert_eq!(request(&mut from(&image)), [1]);
}

/// A VM from the image of a guest that does `body` at a tick.
fn ticking(body: &str, limits: Limits) -> TestVm {
    let body = format!(r#"(func (export "proxy_on_tick") (param i32) {body})"#);
    from(&start_with(&body, PluginSettings { limits, ..PluginSettings::default() }).image().unwrap())
}

#[test]
fn the_bounds_of_a_vm_from_an_image_are_those_of_its_settings() {
    let limits = Limits { memory: 20 * 65536, ..Limits::default() };
    let refused = "(if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))";
    let grow = format!("(if (i32.ne (memory.grow (i32.const 4)) (i32.const 16)) (then (loop (br 0)))) {refused}");

    let causes = [
        ticking("(loop (br 0))", limits.clone()).tick().unwrap_err().cause,
        ticking("(unreachable)", limits.clone()).tick().unwrap_err().cause,
        ticking(&grow, limits).tick().unwrap_err().cause,
    ];

    assert_eq!(causes, [Cause::Deadline, Cause::Trap, Cause::Memory]);
}

#[test]
fn a_trap_in_a_vm_from_an_image_has_a_backtrace_with_names() {
    let mut vm = ticking("(call $deep)) (func $deep (unreachable)", Limits::default());

    let failure = vm.tick().unwrap_err();

    assert!(failure.backtrace[0].contains("deep"), "{:?}", failure.backtrace);
}

#[test]
fn reserved_names_are_refused_by_name() {
    let bytes = guest(r#"(func (export "tollgate:start"))"#);

    let error = compile(&bytes).unwrap_err();

    assert_eq!(error, ModuleError::ReservedExport("tollgate:start".to_owned()));
    assert_eq!(error.to_string(), "export tollgate:start: names that begin with \"tollgate:\" are reserved");
}

#[test]
fn a_start_function_of_another_type_is_refused_with_that_type() {
    let error = compile(&guest("(func $go (param i32)) (start $go)")).unwrap_err();

    assert_eq!(error, ModuleError::Invalid("the start function has type (i32), expected ()".to_owned()));
}
