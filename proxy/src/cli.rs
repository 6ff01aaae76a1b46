//! The command line: what may be asked of the program, and with which exit code it answers.
//!
//! Nothing is decided here about traffic; `app` does the work, and each command has a file of its own.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | good |
//! | 1 | the configuration or a module is bad or cannot be read, or a running proxy refused what was asked |
//! | 2 | the command line cannot be understood |
//! | 3 | an address cannot be bound or reached, or something else broke at run time |

mod check;
mod compile;
mod hints;
mod print;
mod remote;
mod run;
mod swap;
mod toll;

use std::ffi::OsString;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use tollgate_config::{Code, Faults};

use crate::app::AppError;
use crate::telemetry::log::LogFormat;

/// The file that `tollgate run` reads when none is named.
const DEFAULT_CONFIG: &str = "tollgate.yaml";

/// An L7 HTTP proxy that runs proxy-wasm filters and tells what each one costs.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, arg_required_else_help = true)]
#[command(after_help = "\
Exit codes: 0 good, 1 bad configuration or module, 2 bad command line, 3 cannot bind or reach or broke at run time.
Environment: TOLLGATE_LOG chooses log levels, such as info or warn,tollgate::filter=debug; TOLLGATE_ADMIN is the address \
and TOLLGATE_ADMIN_TOKEN the token of the proxy to be asked.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT, then finish what is under way
    Run(RunArguments),
    /// Do all that `run` does short of binding, and report every fault
    Check {
        /// The configuration
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Compile one module, for the proxy that starts it
    #[command(hide = true)]
    Compile(compile::CompileArguments),
    /// Show the filters of a running proxy, or all about one
    Filters {
        /// The filter
        name: Option<String>,
        #[command(flatten)]
        remote: remote::Remote,
    },
    /// Have a filter of a running proxy serve with another module
    Swap(swap::SwapArguments),
    /// Go back to what a filter of a running proxy served with before, or give its canary up
    Rollback {
        /// The filter
        name: String,
        #[command(flatten)]
        remote: remote::Remote,
    },
    /// Have a running proxy read its configuration and modules again
    Reload {
        #[command(flatten)]
        remote: remote::Remote,
    },
    /// Measure what filters cost on this machine
    Toll(toll::TollArguments),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Work with configurations
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script
    Completions {
        /// The shell it is for
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the long form of a configuration
    Expand {
        /// The configuration
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct RunArguments {
    /// The configuration [default: tollgate.yaml in the working directory]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Worker threads, in place of what the configuration says [default: one per core]
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// Take over the listening sockets of the process that attends at this Unix socket, and attend there
    #[arg(long, value_name = "SOCKET", value_hint = ValueHint::FilePath)]
    takeover: Option<PathBuf>,
    /// How the log on standard error is written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Config(Faults),
    #[error("error[{}]: {}: {source}", Code::Unreadable, path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("error[{}]: there is no {DEFAULT_CONFIG} here; name a configuration with --config FILE", Code::Unreadable)]
    NoConfig,
    #[error("{0}")]
    App(AppError),
    #[error("error[TG0402]: {0}")]
    Compiler(io::Error),
    #[error("error[TG0401]: standard output cannot be written: {0}")]
    Output(io::Error),
    #[error("error[TG0403]: no proxy answers at {address}: {source}; name its admin address with --admin ADDR")]
    Unreachable { address: String, source: io::Error },
    /// In the words of the proxy or as it would say it, with a code.
    #[error("{0}")]
    Refused(String),
    #[error("error[TG0405]: {0}")]
    Token(String),
    #[error("error[TG0406]: {0}")]
    Toll(String),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Failure::Config(_) | Failure::Unreadable { .. } | Failure::NoConfig => 1,
            Failure::Refused(_) | Failure::Token(_) | Failure::Toll(_) => 1,
            Failure::App(error) => error.exit_code(),
            Failure::Compiler(_) | Failure::Output(_) | Failure::Unreachable { .. } => 3,
        }
    }
}

/// Runs one command line, the program's name first, and answers with its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(answer) => {
            // Help and version come this way too, with exit code 0. Where nothing can be printed, nobody reads it.
            let _ = answer.print();
            return u8::try_from(answer.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever closed the pipe has read what it wanted.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr().lock(), "{failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check { file } => check::check(&file),
        Command::Compile(arguments) => compile::compile(&arguments),
        Command::Filters { name, remote } => swap::filters(name.as_deref(), &remote),
        Command::Swap(arguments) => swap::swap(&arguments),
        Command::Rollback { name, remote } => swap::rollback(&name, &remote),
        Command::Reload { remote } => swap::reload(&remote),
        Command::Toll(arguments) => toll::toll(&arguments),
        Command::Schema => print::schema(),
        Command::Config(ConfigCommand::Expand { file }) => print::expanded(&file),
        Command::Completions { shell } => print::completions(shell),
        Command::Man => print::man(),
    }
}

/// This program, to be started again; `None` where the system does not say.
fn own_program() -> Option<PathBuf> {
    // The link leads to the file that runs, even when another was put in its place.
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { Some(running) } else { std::env::current_exe().ok() }
}

/// Writes to standard output whole, or says why not.
fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush()).map_err(Failure::Output)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
