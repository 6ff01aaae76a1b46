//! The binary `tollgate`. Everything it does is in the library, under `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tollgate::cli::main(std::env::args_os())
}
