//! Shared queues: who owns them, what they take, who hears of it.

use std::sync::{Arc, Mutex};

use tollgate_abi::testing::{RecordingHost, RecordingStream};
use tollgate_abi::{CallbackKind, PluginSettings, QueueId, QueueLimits, QueueWaker, Quota, Refusal, SharedQueues, Vm};

use crate::common::{Ran, SHOW, TestVm, module, request_with, strict};

/// "jobs" at 4096, "other" at 4100, "one" at 4112, "two" at 4115, a byte that is no text at 4120.
const DATA: &str =
    r#"(data (i32.const 4096) "jobsother") (data (i32.const 4112) "onetwo") (data (i32.const 4120) "\ff")"#;

/// Registers "jobs"; its number goes to 64.
const REGISTER: &str = "(call $tell (call $proxy_register_shared_queue (i32.const 4096) (i32.const 4) (i32.const 64)))";
const JOBS: &str = "(i32.load (i32.const 64))";

fn enqueue(queue: &str, at: u32, size: u32) -> String {
    format!("(call $tell (call $proxy_enqueue_shared_queue {queue} (i32.const {at}) (i32.const {size})))")
}

fn dequeue(queue: &str) -> String {
    format!(
        "(i32.store (i32.const 36) (i32.const 0))
         (call $tell (call $proxy_dequeue_shared_queue {queue} (i32.const 32) (i32.const 36))) {SHOW}"
    )
}

fn resolve(vm: (u32, u32), name: (u32, u32)) -> String {
    format!(
        "(i32.store (i32.const 68) (i32.const 0))
         (call $tell (call $proxy_resolve_shared_queue
            (i32.const {}) (i32.const {}) (i32.const {}) (i32.const {}) (i32.const 68)))
         (call $tell (i32.load (i32.const 68)))",
        vm.0, vm.1, name.0, name.1
    )
}

fn run(body: &str, settings: PluginSettings) -> Ran {
    request_with(DATA, body, RecordingStream::default(), settings)
}

fn of(vm_id: &str, queues: &Arc<SharedQueues>) -> PluginSettings {
    PluginSettings { vm_id: vm_id.to_owned(), queues: Arc::clone(queues), ..PluginSettings::default() }
}

fn small() -> PluginSettings {
    PluginSettings { queue_limits: QueueLimits { queues: 1, messages: 2, bytes: 6 }, ..PluginSettings::default() }
}

#[test]
fn a_name_is_one_queue_and_the_host_hears_of_each_registration() {
    let ran = run(&format!("{REGISTER} (call $tell {JOBS}) {REGISTER} (call $tell {JOBS})"), PluginSettings::default());

    let told = ran.told();
    let queues: Vec<u32> = ran.vm.host().queues.iter().map(|queue| queue.get()).collect();
    assert_eq!(told, [0, queues[0], 0, queues[0]]);
    assert_eq!(queues, [queues[0]; 2]);
    assert_ne!(queues[0], 0);
}

#[test]
fn a_queue_is_resolved_by_the_name_of_its_owner_or_none_for_ones_own() {
    let queues = Arc::new(SharedQueues::default());
    let own = run(REGISTER, of("mine", &queues)).vm.host().queues[0].get();
    let theirs = run(REGISTER, of("other", &queues)).vm.host().queues[0].get();
    let (jobs, other) = ((4096, 4), (4100, 5));

    let ran = run(
        &[
            resolve((0, 0), jobs),
            resolve(other, jobs),
            resolve(other, other),
            resolve(jobs, jobs),
            resolve((4120, 1), jobs),
        ]
        .concat(),
        of("mine", &queues),
    );

    assert_ne!(own, theirs);
    assert_eq!(ran.told(), [0, own, 0, theirs, 1, 0, 1, 0, 1, 0]);
    assert!(ran.vm.host().queues.is_empty());
}

#[test]
fn messages_come_out_in_order_and_then_the_queue_is_empty() {
    let body = format!(
        "{REGISTER} {} {} {} {} {} {} {}",
        enqueue(JOBS, 4112, 3),
        enqueue(JOBS, 4115, 3),
        enqueue(JOBS, 0, 0),
        dequeue(JOBS),
        dequeue(JOBS),
        dequeue(JOBS),
        dequeue(JOBS)
    );

    let ran = run(&body, PluginSettings::default());

    assert_eq!(ran.told(), [0, 0, 0, 0, 0, 0, 0, 7]);
    assert_eq!(ran.lines(), ["one", "two", "", ""]);
}

#[test]
fn a_number_that_is_no_queue_is_not_found() {
    let ran = run(&(enqueue("(i32.const 9)", 4112, 3) + &dequeue("(i32.const 9)")), PluginSettings::default());

    assert_eq!(ran.told(), [1, 1]);
}

#[test]
fn anyone_who_knows_the_number_fills_and_empties_a_queue() {
    let queues = Arc::new(SharedQueues::default());
    let number = run(REGISTER, of("mine", &queues)).vm.host().queues[0].get();
    let number = format!("(i32.const {number})");

    let filled = run(&enqueue(&number, 4112, 3), of("other", &queues));
    let emptied = run(&dequeue(&number), of("third", &queues));

    assert_eq!((filled.told(), emptied.told()), (vec![0], vec![0]));
    assert_eq!(emptied.lines(), ["one"]);
}

#[test]
fn a_queue_over_the_bound_gets_number_zero_or_a_failure_when_strict() {
    let another = "(i32.store (i32.const 68) (i32.const -1))
        (call $tell (call $proxy_register_shared_queue (i32.const 4100) (i32.const 5) (i32.const 68)))
        (call $tell (i32.load (i32.const 68)))";
    let body = format!("{REGISTER} {another} {}", enqueue("(i32.load (i32.const 68))", 4112, 3));

    let lenient = run(&body, small());
    let exact = run(&body, PluginSettings { guest_errors: strict().guest_errors, ..small() });

    assert_eq!(lenient.told(), [0, 0, 0, 1]);
    assert_eq!(exact.told()[..2], [0, 10]);
    assert_eq!(lenient.vm.host().quotas, [Quota::Queue]);
    assert_eq!(lenient.vm.host().refused, [("proxy_register_shared_queue", Refusal::Limit("shared queues"))]);
    assert_eq!(lenient.vm.host().queues.len(), 1);
}

#[test]
fn messages_and_bytes_over_their_bounds_are_dropped_or_a_failure_when_strict() {
    let body = format!(
        "{REGISTER} {} {} {} {}",
        enqueue(JOBS, 4112, 7),
        enqueue(JOBS, 4112, 6),
        enqueue(JOBS, 0, 0),
        enqueue(JOBS, 0, 0)
    );

    let lenient = run(&body, small());
    let exact = run(&body, PluginSettings { guest_errors: strict().guest_errors, ..small() });

    assert_eq!(lenient.told(), [0; 5]);
    assert_eq!(exact.told(), [0, 10, 0, 0, 10]);
    assert_eq!(lenient.vm.host().quotas, [Quota::Queue; 2]);
    let why = ["bytes of all shared queues", "messages of a shared queue"];
    assert_eq!(lenient.vm.host().refused, why.map(|why| ("proxy_enqueue_shared_queue", Refusal::Limit(why))));
}

#[test]
fn the_name_of_a_queue_takes_64_kib_and_no_more() {
    let register = |size: u32| {
        format!("(call $tell (call $proxy_register_shared_queue (i32.const 131072) (i32.const {size}) (i32.const 64)))")
    };
    let body = register(65536) + &register(65537);

    let lenient = run(&body, PluginSettings::default());
    let exact = run(&body, strict());

    assert_eq!((lenient.told(), exact.told()), (vec![0, 0], vec![0, 10]));
    assert_eq!(lenient.vm.host().queues.len(), 1);
}

// who hears

/// An embedder's way to a VM: it notes what it will have to deliver.
#[derive(Default)]
struct Bell(Mutex<Vec<QueueId>>);

impl QueueWaker for Bell {
    fn queue_ready(&self, queue: QueueId) {
        self.0.lock().unwrap().push(queue);
    }
}

/// A VM that registers "jobs" when it is configured, and empties the queue by one message when it hears of it.
fn receiver(queues: &Arc<SharedQueues>) -> (TestVm, Arc<Bell>) {
    let body = format!(
        r#"{DATA}
        (func (export "proxy_on_configure") (param i32 i32) (result i32) {REGISTER} (i32.const 1))
        (func (export "proxy_on_queue_ready") (param i32 i32)
            (call $tell (local.get 0)) (call $tell (local.get 1)) {})"#,
        dequeue("(local.get 1)")
    );
    let host = RecordingHost::default();
    let mut vm = Vm::start(&module(&body), Arc::new(of("mine", queues)), host).map_err(|(failure, _)| failure).unwrap();
    let bell = Arc::new(Bell::default());
    let waker: Arc<dyn QueueWaker> = bell.clone();
    for queue in std::mem::take(&mut vm.host_mut().queues) {
        queues.listen(queue, &waker);
    }
    vm.host_mut().lines.clear();
    vm.host_mut().entries.clear();
    (vm, bell)
}

fn deliver(vm: &mut TestVm, bell: &Bell) {
    let ready = std::mem::take(&mut *bell.0.lock().unwrap());
    for queue in ready {
        vm.queue_ready(queue).unwrap();
    }
}

#[test]
fn the_root_that_registered_hears_of_each_message() {
    let queues = Arc::new(SharedQueues::default());
    let (mut vm, bell) = receiver(&queues);
    let body = format!("{REGISTER} {} {}", enqueue(JOBS, 4112, 3), enqueue(JOBS, 4115, 3));
    let sender = run(&body, of("mine", &queues));

    deliver(&mut vm, &bell);

    let number = sender.vm.host().queues[0].get();
    assert_eq!(vm.host().told(), [1, number, 0, 1, number, 0]);
    assert_eq!(vm.host().entries, [CallbackKind::QueueReady; 2]);
    let texts = vm.host().text();
    assert!(texts.contains(&"one".to_owned()) && texts.contains(&"two".to_owned()));
}

#[test]
fn the_latest_to_register_hears_even_of_what_waits() {
    let queues = Arc::new(SharedQueues::default());
    let (mut first, early) = receiver(&queues);
    let queue = queues.resolve("mine", b"jobs").unwrap();
    queues.enqueue(queue, b"one").unwrap();
    let (mut second, late) = receiver(&queues);
    queues.enqueue(queue, b"two").unwrap();

    deliver(&mut second, &late);
    deliver(&mut first, &early);

    assert_eq!(second.host().told(), [1, queue.get(), 0, 1, queue.get(), 0]);
    // It was told of the first message, which was taken meanwhile.
    assert_eq!(first.host().told(), [1, queue.get(), 7]);
}

#[test]
fn a_message_that_nobody_listens_for_waits() {
    let queues = Arc::new(SharedQueues::default());
    let body = format!("{REGISTER} {}", enqueue(JOBS, 4112, 3));
    assert_eq!(run(&body, of("mine", &queues)).told(), [0, 0]);

    let (mut vm, bell) = receiver(&queues);
    deliver(&mut vm, &bell);

    assert_eq!(vm.host().told()[2], 0);
}

#[test]
fn a_guest_that_does_not_listen_is_not_entered() {
    let mut vm = crate::common::start("");
    let queues = SharedQueues::default();
    let queue = queues.register("", b"jobs", &QueueLimits::default()).unwrap();
    vm.host_mut().entries.clear();

    vm.queue_ready(queue).unwrap();

    assert!(vm.host().entries.is_empty());
}
