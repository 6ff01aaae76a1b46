//! Every input that fuzzing kept, played again: what was learnt once holds on every run.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/targets.rs"]
mod targets;

fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(inputs.len() > 5, "{} has a corpus", folder.display());
    for input in inputs {
        target(&fs::read(&input).unwrap());
    }
}

#[test]
fn lists_of_pairs_agree_with_the_reference() {
    replay("pairs", targets::pairs);
}

#[test]
fn property_paths_are_their_parts() {
    replay("property_path", targets::property_path);
}

#[test]
fn scripts_of_hostcalls_leave_the_host_standing() {
    replay("hostcalls", targets::hostcalls);
}

#[test]
fn modules_are_refused_in_words_or_run_within_bounds() {
    replay("modules", targets::modules);
}
