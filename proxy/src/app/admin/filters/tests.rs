//! What is said of plugins that are in the middle of something.

use std::sync::Arc;
use std::time::SystemTime;

use super::*;
use crate::filter::digest::Digest;
use crate::filter::rollout::Trigger;

fn generation(number: u64) -> Brief {
    let (digest, origin) = (Digest([u8::try_from(number).unwrap(); 32]), format!("/etc/{number}.wasm"));
    Brief { number, digest, origin, abi: "0.2.1".to_owned(), residents: Arc::new(2.into()) }
}

fn plugin(name: &str) -> View {
    View {
        name: name.to_owned(),
        serving: Some(generation(3)),
        canary: None,
        staged: None,
        waiting: None,
        draining: Vec::new(),
        previous: Vec::new(),
        last_error: None,
        history: Vec::new(),
    }
}

/// A plugin with something of everything.
fn busy() -> View {
    let incident = Incident {
        at: SystemTime::UNIX_EPOCH,
        step: "start",
        code: "TG0205",
        digest: Some(generation(7).digest),
        origin: "upload".to_owned(),
        message: "did not start: trap".to_owned(),
        lines: vec!["error: no license".to_owned()],
        backtrace: vec!["give_up".to_owned()],
    };
    let event = Event {
        at: SystemTime::UNIX_EPOCH,
        trigger: Trigger::Admin,
        what: "failed",
        generation: None,
        digest: Some(generation(7).digest),
        took: Duration::from_micros(12_345),
    };
    View {
        canary: Some((generation(4), "0.5%".parse().unwrap())),
        staged: Some(generation(5)),
        waiting: Some(generation(6)),
        draining: vec![generation(1)],
        previous: vec![generation(2)],
        last_error: Some(incident),
        history: vec![event],
        ..plugin("busy")
    }
}

#[test]
fn the_state_is_what_exchanges_notice() {
    let (mut view, busy) = (plugin("f"), busy());

    view.last_error.clone_from(&busy.last_error);
    view.staged.clone_from(&busy.staged);
    assert_eq!(state(&view), "serving");
    view.canary.clone_from(&busy.canary);
    assert_eq!(state(&view), "canary");
    view.waiting.clone_from(&busy.waiting);
    assert_eq!(state(&view), "waiting");
    view.serving = None;
    assert_eq!(state(&view), "failed");
}

#[test]
fn everything_of_a_plugin_is_told_to_machines() {
    let resident = Resident { worker: 1, track: Track::Canary, instances: 1, memory_bytes: 65_536 };

    let told = Value::Object(whole(&busy(), &[resident]));

    let number = |value: &Value| value["generation"].as_u64();
    assert_eq!((number(&told), number(&told["canary"]), number(&told["staged"])), (Some(3), Some(4), Some(5)));
    assert_eq!((number(&told["waiting"]), number(&told["draining"][0])), (Some(6), Some(1)));
    assert_eq!((number(&told["previous"][0]), &told["draining"][0]["workers"]), (Some(2), &json!(2)));
    assert_eq!(told["canary"]["share"], "0.5%");
    let row = json!({ "worker": 1, "track": "canary", "instances": 1, "memory_bytes": 65_536 });
    assert_eq!(told["workers"], json!([row]));
    assert_eq!(told["last_error"]["lines"], json!(["error: no license"]));
    assert_eq!(told["last_error"]["time"], "1970-01-01T00:00:00.000Z");
    assert_eq!(told["history"][0]["took_ms"], 12.345);
}

#[test]
fn everything_of_a_plugin_is_told_to_people() {
    let resident = Resident { worker: 1, track: Track::Canary, instances: 1, memory_bytes: 65_536 };

    let page = screen::page(&busy(), &[resident]);

    let line = |number: u64, what: &str| {
        let digest = generation(number).digest;
        format!("{number}           {what:11}  2        0.2.1  /etc/{number}.wasm  {digest}\n")
    };
    let states = [(3, "serving"), (4, "canary 0.5%"), (6, "waiting"), (5, "staged"), (1, "draining"), (2, "previous")];
    let expected = format!(
        "filter busy: waiting\n\nGENERATION  STATE        WORKERS  ABI    SOURCE       SHA256\n{}\n\
         WORKER  TRACK   VMS  MEMORY\n1       canary  1    64 KiB\n\n\
         last error at 1970-01-01T00:00:00.000Z in step start\n  sha256 {}\n  \
         error[TG0205]: upload: did not start: trap\n    at give_up\n    filter: error: no license\n\n\
         TIME                      BY     WHAT    GENERATION  SHA256        TOOK\n\
         1970-01-01T00:00:00.000Z  admin  failed  -           070707070707  12.3 ms\n",
        states.map(|(number, what)| line(number, what)).concat(),
        generation(7).digest
    );
    assert_eq!(page, expected);
}

#[test]
fn a_generation_that_drains_and_may_come_back_has_one_line() {
    let replaced = View { draining: vec![generation(2)], previous: vec![generation(2)], ..plugin("f") };

    let page = screen::page(&replaced, &[]);

    assert!(page.contains("\n2           previous, draining  2 "), "{page}");
    assert_eq!(page.lines().count(), 5, "{page}");
}

#[test]
fn a_table_has_a_line_for_each_plugin() {
    let failed = View { serving: None, ..plugin("x") };

    let table = screen::table(&[busy(), failed]);

    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines[0], "NAME  STATE    GENERATION  SHA256        ABI    SOURCE       NOTES");
    let notes = "canary 0.5% generation 4, waiting generation 6, staged generation 5, last error start TG0205";
    assert_eq!(lines[1], format!("busy  waiting  3           030303030303  0.2.1  /etc/3.wasm  {notes}"));
    assert_eq!(lines[2], "x     failed   -           -             -      -");
    assert_eq!(screen::table(&[]), "there are no filters\n");
}
