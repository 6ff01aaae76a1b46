//! WASI without files and sockets: what works, and that everything links under both names.

use tollgate_abi::testing::{RecordingStream, guest, wat};
use tollgate_abi::{LogLevel, PluginSettings};

use crate::common::{Ran, compile, request, request_with, start, try_start};

fn run(data: &str, body: &str) -> Ran {
    request(data, body, RecordingStream::default())
}

/// Two vectors at 4096: "one " and "two\n".
const VECTORS: &str = r#"(data (i32.const 4096) "\20\10\00\00\04\00\00\00\24\10\00\00\04\00\00\00")
    (data (i32.const 4128) "one two\n")"#;

fn write(fd: u32) -> String {
    format!(
        "(call $tell (call $fd_write (i32.const {fd}) (i32.const 4096) (i32.const 2) (i32.const 32)))
         (call $tell (i32.load (i32.const 32)))"
    )
}

#[test]
fn output_becomes_a_line_without_its_newline() {
    let out = run(VECTORS, &write(1));
    let err = run(VECTORS, &write(2));

    assert_eq!((out.told(), err.told()), (vec![0, 8], vec![0, 8]));
    assert_eq!(out.vm.host().lines[0], (LogLevel::Info, b"one two".to_vec()));
    assert_eq!(err.vm.host().lines[0], (LogLevel::Error, b"one two".to_vec()));
}

#[test]
fn output_to_anything_else_is_a_bad_descriptor() {
    let ran = run(
        VECTORS,
        "(call $tell (call $fd_write (i32.const 3) (i32.const 4096) (i32.const 2) (i32.const 32)))
         (call $tell (call $fd_pwrite (i32.const 1) (i32.const 4096) (i32.const 2) (i64.const 0) (i32.const 32)))",
    );

    assert_eq!(ran.told(), [8, 0]);
    assert_eq!(ran.lines(), ["one two"]);
}

#[test]
fn output_from_outside_memory_is_a_fault_and_no_line() {
    let ran = run(
        r#"(data (i32.const 4096) "\00\00\00\00\ff\ff\ff\ff")"#,
        "(call $tell (call $fd_write (i32.const 1) (i32.const 4096) (i32.const 1) (i32.const 32)))
         (call $tell (call $fd_write (i32.const 1) (i32.const -8) (i32.const 2) (i32.const 32)))
         (call $tell (call $fd_write (i32.const 1) (i32.const 4096) (i32.const 1025) (i32.const 32)))",
    );

    assert_eq!(ran.told(), [21, 21, 28]);
    assert!(ran.lines().is_empty());
}

#[test]
fn only_configured_variables_are_shown_and_only_whole_ones() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let settings = PluginSettings {
        env: vec![pair("A", "1"), pair("BAD\0", "x"), pair("C=D", "x"), pair("BB", "22")],
        ..PluginSettings::default()
    };

    let ran = request_with(
        "",
        "(call $tell (call $environ_sizes_get (i32.const 32) (i32.const 36)))
         (call $tell (i32.load (i32.const 32))) (call $tell (i32.load (i32.const 36)))
         (call $tell (call $environ_get (i32.const 4096) (i32.const 4200)))
         (call $tell (i32.load (i32.const 4096))) (call $tell (i32.load (i32.const 4100)))
         (call $show (i32.const 4200) (i32.const 10))
         (call $tell (call $environ_get (i32.const 4096) (i32.const 1048572)))",
        RecordingStream::default(),
        settings,
    );

    assert_eq!(ran.told(), [0, 2, 10, 0, 4200, 4204, 21]);
    assert_eq!(ran.lines(), ["A=1\0BB=22\0"]);
}

#[test]
fn there_are_no_arguments() {
    let ran = run(
        "",
        "(i32.store (i32.const 32) (i32.const -1))
         (call $tell (call $args_sizes_get (i32.const 32) (i32.const 36)))
         (call $tell (i32.load (i32.const 32)))
         (call $tell (call $args_get (i32.const 32) (i32.const 36)))",
    );

    assert_eq!(ran.told(), [0, 0, 0]);
}

#[test]
fn both_clocks_run_and_no_other() {
    let ran = run(
        "",
        "(call $tell (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 4096)))
         (call $tell (i64.ne (i64.load (i32.const 4096)) (i64.const 0)))
         (call $tell (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 4096)))
         (call $tell (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 4104)))
         (call $tell (i64.le_u (i64.load (i32.const 4096)) (i64.load (i32.const 4104))))
         (call $tell (call $clock_time_get (i32.const 2) (i64.const 0) (i32.const 4096)))
         (call $tell (call $clock_res_get (i32.const 1) (i32.const 4096)))
         (call $tell (i32.load (i32.const 4096)))
         (call $tell (call $clock_res_get (i32.const 2) (i32.const 4096)))",
    );

    assert_eq!(ran.told(), [0, 1, 0, 0, 1, 58, 0, 1, 58]);
}

#[test]
fn random_bytes_come_up_to_64_kib_at_once() {
    let ran = run(
        "",
        "(call $tell (call $random_get (i32.const 4096) (i32.const 32)))
         (call $tell (i64.eqz (i64.load (i32.const 4096))))
         (call $tell (call $random_get (i32.const 131072) (i32.const 65536)))
         (call $tell (call $random_get (i32.const 131072) (i32.const 65537)))
         (call $tell (call $random_get (i32.const 1048575) (i32.const 2)))",
    );

    assert_eq!(ran.told(), [0, 0, 0, 28, 21]);
}

#[test]
fn waiting_ends_at_once_without_events() {
    let ran = run(
        "",
        "(i32.store (i32.const 32) (i32.const -1))
         (call $tell (call $poll_oneoff (i32.const 4096) (i32.const 4200) (i32.const 1) (i32.const 32)))
         (call $tell (i32.load (i32.const 32)))
         (call $tell (call $sched_yield))",
    );

    assert_eq!(ran.told(), [0, 0, 0]);
}

#[test]
fn outputs_are_character_devices_that_can_be_written() {
    let ran = run(
        "",
        "(call $tell (call $fd_fdstat_get (i32.const 1) (i32.const 4096)))
         (call $tell (i32.load (i32.const 4096))) (call $tell (i32.load (i32.const 4104)))
         (call $tell (call $fd_fdstat_get (i32.const 3) (i32.const 4096)))
         (call $tell (call $fd_close (i32.const 2)))
         (call $tell (call $fd_close (i32.const 3)))
         (call $tell (call $fd_seek (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 4096)))
         (call $tell (call $fd_tell (i32.const 3) (i32.const 4096)))",
    );

    assert_eq!(ran.told(), [0, 2, 64, 8, 0, 8, 70, 8]);
}

/// Every other function with its parameters (`l` is an i64) and the error it answers.
const STUBS: [(&str, &str, u32); 31] = [
    ("proc_raise", "i", 52),
    ("fd_advise", "illi", 8),
    ("fd_allocate", "ill", 8),
    ("fd_datasync", "i", 8),
    ("fd_fdstat_set_flags", "ii", 52),
    ("fd_fdstat_set_rights", "ill", 8),
    ("fd_filestat_get", "ii", 8),
    ("fd_filestat_set_size", "il", 8),
    ("fd_filestat_set_times", "illi", 8),
    ("fd_pread", "iiili", 8),
    ("fd_prestat_get", "ii", 8),
    ("fd_prestat_dir_name", "iii", 8),
    ("fd_read", "iiii", 8),
    ("fd_readdir", "iiili", 8),
    ("fd_renumber", "ii", 8),
    ("fd_sync", "i", 8),
    ("fd_tell", "ii", 8),
    ("path_create_directory", "iii", 58),
    ("path_filestat_get", "iiiii", 44),
    ("path_filestat_set_times", "iiiilli", 58),
    ("path_link", "iiiiiii", 58),
    ("path_open", "iiiiillii", 44),
    ("path_readlink", "iiiiii", 44),
    ("path_remove_directory", "iii", 58),
    ("path_rename", "iiiiii", 58),
    ("path_symlink", "iiiii", 58),
    ("path_unlink_file", "iii", 58),
    ("sock_accept", "iii", 58),
    ("sock_recv", "iiiiii", 58),
    ("sock_send", "iiiii", 58),
    ("sock_shutdown", "ii", 58),
];

#[test]
fn there_is_nothing_to_open_read_or_connect() {
    let calls = STUBS.map(|(name, params, _)| {
        let zeros: String =
            params.chars().map(|kind| if kind == 'l' { "(i64.const 0)" } else { "(i32.const 0)" }).collect();
        format!("(call $tell (call ${name} {zeros}))")
    });

    let ran = run("", &calls.concat());

    assert_eq!(ran.told(), STUBS.map(|(_, _, errno)| errno));
}

#[test]
fn the_whole_import_set_links_under_both_names() {
    let worked = [
        ("args_get", "ii"),
        ("args_sizes_get", "ii"),
        ("environ_get", "ii"),
        ("environ_sizes_get", "ii"),
        ("clock_res_get", "ii"),
        ("clock_time_get", "ili"),
        ("fd_write", "iiii"),
        ("fd_pwrite", "iiili"),
        ("fd_fdstat_get", "ii"),
        ("fd_close", "i"),
        ("fd_seek", "ilii"),
        ("poll_oneoff", "iiii"),
        ("random_get", "ii"),
        ("sched_yield", ""),
    ];
    let stubs = STUBS.iter().map(|(name, params, _)| (*name, *params));
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        let imports: String = stubs
            .clone()
            .chain(worked)
            .map(|(name, params)| {
                let params: String = params.chars().map(|kind| if kind == 'l' { " i64" } else { " i32" }).collect();
                format!(r#"(import "{module}" "{name}" (func (param{params}) (result i32)))"#)
            })
            .collect();
        let text = format!(
            r#"(module {imports} (import "{module}" "proc_exit" (func (param i32)))
                (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))
                (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#
        );

        let module = compile(&wat(&text)).unwrap();

        assert!(try_start(&module, PluginSettings::default()).is_ok());
    }
}

#[test]
fn output_works_before_the_guest_is_initialised() {
    let vm = start(&format!("{VECTORS} (func $go {}) (start $go)", write(1)));

    assert_eq!(vm.host().text()[0], "one two");
    assert!(compile(&guest("")).is_ok());
}
