//! An instance for each exchange, made anew or rewound: nothing of one is readable by the next.

use std::sync::Arc;
use std::time::Duration;

use tollgate_abi::testing::{RecordingHost, RecordingStream, guest};
use tollgate_abi::{
    Cause, Engine, EngineSettings, Image, Instances, Limits, Module, ModuleError, ModuleLimits, PluginSettings, Vm,
};

use crate::common::{ENGINE, TestVm};

/// Bytes of one slot, twice of what guests begin with.
const MEMORY: usize = 2 * 1024 * 1024;

/// Instances that follow one another in one place.
const INSTANCES: u32 = 1_000;

/// A guest that looks for secrets in all of its memory and in its globals, and tells how many it found. It does so again
/// in memory that it adds, if `GROW` is in its place. Then it leaves secrets everywhere: in every fourth page, so that
/// there are some sixty runs of changed pages.
const SPY: &str = r#"
    (global $number (mut i32) (i32.const 0))
    (global $wide (mut i64) (i64.const 0))
    (data (i32.const 8192) "begins like this")
    (func $end (result i32) (i32.mul (memory.size) (i32.const 65536)))
    (func $found (result i32) (local $at i32) (local $count i32)
        (loop
            (local.set $count (i32.add (local.get $count)
                (i32.eq (i32.load (local.get $at)) (i32.const 0x5ec3e700))))
            (local.set $at (i32.add (local.get $at) (i32.const 4)))
            (br_if 0 (i32.lt_u (local.get $at) (call $end))))
        (local.get $count))
    (func $leave (local $at i32)
        (global.set $number (i32.const 0x5ec3e700))
        (global.set $wide (i64.const 0x5ec3e700))
        (loop
            (i32.store (local.get $at) (i32.const 0x5ec3e700))
            (i32.store offset=4092 (local.get $at) (i32.const 0x5ec3e700))
            (local.set $at (i32.add (local.get $at) (i32.const 16384)))
            (br_if 0 (i32.lt_u (local.get $at) (call $end)))))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (i32.store (i32.const 12288) (i32.const 77))
        (i32.store (i32.const 900000) (i32.const 88))
        (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $tell (memory.size))
        (call $tell (call $found))
        GROW
        (call $tell (i32.or (global.get $number) (i32.wrap_i64 (global.get $wide))))
        (call $tell (i32.load (i32.const 8192)))
        (call $tell (i32.load (i32.const 12288)))
        (call $tell (i32.load (i32.const 900000)))
        (call $leave)
        (i32.const 0))
    (func (export "proxy_on_tick") (param i32) (drop (memory.grow (i32.const 1))))
    (func (export "proxy_on_foreign_function") (param i32 i32 i32) (unreachable))"#;

const GROW: &str = "(call $tell (memory.grow (i32.const 8))) (call $tell (call $found))";

fn spy(grow: &str) -> Vec<u8> {
    guest(&SPY.replace("GROW", grow))
}

fn pool(slots: u32) -> Engine {
    let instances = Instances::Pooled { slots, memory: MEMORY };
    Engine::new(&EngineSettings { instances, ..EngineSettings::default() }).unwrap()
}

fn compile(engine: &Engine, bytes: &[u8]) -> Module {
    Module::compile(engine, bytes, &ModuleLimits::default()).unwrap()
}

fn image_of(engine: &Engine, bytes: &[u8]) -> Image<RecordingHost> {
    // Looking at every word of memory takes longer than a callback may, on a machine that is busy.
    let limits = Limits { callback: Duration::from_secs(10), ..Limits::default() };
    let settings = PluginSettings { limits, ..PluginSettings::default() };
    let mut vm = Vm::start(&compile(engine, bytes), Arc::new(settings), RecordingHost::default()).unwrap();
    vm.image().unwrap()
}

fn fresh(image: &Image<RecordingHost>) -> TestVm {
    Vm::from_image(image, RecordingHost::default()).map_err(|(failure, _)| failure).unwrap()
}

fn rewound(vm: TestVm) -> TestVm {
    assert!(ENGINE.can_rewind(), "/proc/self/pagemap can be read");
    vm.rewind(RecordingHost::default()).expect("the VM can be rewound")
}

/// What a VM tells in the first callback of an exchange.
fn told(vm: &mut TestVm) -> Vec<u32> {
    let (stream, begun) = vm.begin_stream(RecordingStream::request([]), 0, true);
    vm.end_stream(begun.unwrap().0, stream).1.unwrap();
    vm.host().told()
}

/// What a spy tells that finds nothing.
fn nothing() -> Vec<u32> {
    vec![16, 0, 0, u32::from_le_bytes(*b"begi"), 77, 88]
}

/// The same of a spy that grows.
fn nothing_grown() -> Vec<u32> {
    let mut told = nothing();
    told.splice(2..2, [16, 0]);
    told
}

#[test]
fn nothing_of_one_instance_is_readable_by_the_next_in_its_slot() {
    // One for the VM that starts and one for the instance that it is compared with; then the same slot over and over.
    let image = image_of(&pool(2), &spy(GROW));

    for instance in 0..INSTANCES {
        assert_eq!(told(&mut fresh(&image)), nothing_grown(), "instance {instance}");
    }
}

#[test]
fn nothing_of_one_module_is_readable_by_another_in_its_slot() {
    let engine = pool(2);
    let images =
        [image_of(&engine, &spy(GROW)), image_of(&engine, &guest(&format!("(func) {}", SPY.replace("GROW", GROW))))];

    for instance in 0..100 {
        for image in &images {
            assert_eq!(told(&mut fresh(image)), nothing_grown(), "instance {instance}");
        }
    }
}

#[test]
fn nothing_of_one_exchange_is_readable_by_the_next_in_a_vm_that_is_rewound() {
    for engine in [&pool(2), &*ENGINE] {
        let mut vm = fresh(&image_of(engine, &spy("")));

        for exchange in 0..INSTANCES {
            assert_eq!(told(&mut vm), nothing(), "exchange {exchange}");
            vm = rewound(vm);
        }
    }
}

#[test]
fn a_vm_that_is_rewound_is_as_the_image_in_every_way() {
    let image = image_of(&ENGINE, &spy(""));
    let mut vm = fresh(&image);
    let (_, begun) = vm.begin_stream(RecordingStream::request([]), 0, true);
    let context = begun.unwrap().0;

    let mut vm = rewound(vm);

    assert_eq!((vm.stream_contexts(), vm.host().lines.len(), vm.host().entries.len()), (0, 0, 0));
    let (_, begun) = vm.begin_stream(RecordingStream::request([]), 0, true);
    assert_eq!(begun.unwrap().0, context, "ids begin again");
    assert_eq!(vm.host().told(), nothing());
}

#[test]
fn a_vm_that_is_not_as_its_image_in_size_or_health_is_not_rewound() {
    let image = image_of(&ENGINE, &spy(""));
    // The host that came back, as the name that it knows.
    let after = |entry: fn(&mut TestVm)| {
        let mut vm = fresh(&image);
        entry(&mut vm);
        let host = RecordingHost { upstreams: vec!["mine".into()], ..RecordingHost::default() };
        vm.rewind(host).err().map(|host| host.upstreams)
    };

    let grown = after(|vm| vm.tick().unwrap());
    let dead = after(|vm| drop(vm.call_foreign_function(0, Vec::new()).unwrap_err()));

    assert_eq!((grown, dead), (Some(vec!["mine".to_owned()]), Some(vec!["mine".to_owned()])));
    assert_eq!(after(|_| ()), None);
}

#[test]
fn a_vm_that_wrote_to_more_than_pays_is_not_rewound() {
    // What the start wrote does not count, and is more than the bound of 1 MiB already.
    let body = r#"
        (func $fill (param i32) (memory.fill (i32.const 200000) (local.get 0) (i32.const 1200000)))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (memory.grow (i32.const 32))) (call $fill (i32.const 1)) (i32.const 1))
        (func (export "proxy_on_tick") (param i32) (call $fill (i32.const 2)))
        (func (export "proxy_on_foreign_function") (param i32 i32 i32)
            (call $fill (i32.const 2)) (memory.fill (i32.const 1700000) (i32.const 2) (i32.const 1200000)))"#;
    let image = image_of(&ENGINE, &guest(body));
    let (mut little, mut much) = (fresh(&image), fresh(&image));

    little.tick().unwrap();
    much.call_foreign_function(0, Vec::new()).unwrap();

    assert!(little.rewind(RecordingHost::default()).is_ok());
    assert!(much.rewind(RecordingHost::default()).is_err());
}

#[test]
fn a_vm_that_was_started_is_not_rewound() {
    let vm = Vm::start(&compile(&ENGINE, &spy("")), Arc::default(), RecordingHost::default()).unwrap();

    assert!(vm.rewind(RecordingHost::default()).is_err());
}

#[test]
fn a_vm_that_waits_for_something_is_not_rewound() {
    let look_up = r#"(data (i32.const 4096) "a.host")
        (func (export "proxy_on_tick") (param i32)
            (drop (call $envoy_resolve_dns (i32.const 4096) (i32.const 6) (i32.const 32))))"#;
    let mut vm = fresh(&image_of(&ENGINE, &guest(look_up)));

    vm.tick().unwrap();

    assert_eq!(vm.host().lookups.len(), 1);
    assert!(vm.rewind(RecordingHost::default()).is_err());
}

#[test]
fn a_vm_without_a_slot_is_refused_and_a_slot_that_is_free_again_is_used() {
    let image = image_of(&pool(2), &spy(""));
    let (first, second) = (fresh(&image), fresh(&image));

    let (failure, _) = Vm::from_image(&image, RecordingHost::default()).unwrap_err();

    assert_eq!(failure.cause, Cause::Host);
    assert!(failure.message.contains("no room for an instance"), "{failure}");
    drop(first);
    assert_eq!(told(&mut fresh(&image)), nothing());
    drop(second);
}

#[test]
fn a_module_that_begins_with_more_than_a_slot_does_not_compile() {
    let bytes = |pages: usize| {
        tollgate_abi::testing::wat(&format!(
            r#"(module (memory (export "memory") {pages}) (func (export "proxy_abi_version_0_2_1"))
                (func (export "malloc") (param i32) (result i32) (i32.const 1024)))"#
        ))
    };
    let compile = |pages| Module::compile(&pool(1), &bytes(pages), &ModuleLimits::default());

    assert!(compile(MEMORY / 65536).is_ok());
    assert!(matches!(compile(MEMORY / 65536 + 1), Err(ModuleError::Invalid(_))));
}

#[test]
fn memory_grows_to_the_end_of_its_slot_and_a_trap_after_it_counts_as_memory() {
    let body = r#"(func (export "proxy_on_tick") (param i32)
        (call $tell (memory.grow (i32.const 16)))
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable)))"#;
    let settings =
        PluginSettings { limits: Limits { memory: 2 * MEMORY, ..Limits::default() }, ..PluginSettings::default() };
    let module = compile(&pool(2), &guest(body));
    let mut vm = Vm::start(&module, Arc::new(settings), RecordingHost::default()).unwrap();

    let failure = vm.tick().unwrap_err();

    assert_eq!((vm.host().told(), failure.cause), (vec![16], Cause::Memory));
}
