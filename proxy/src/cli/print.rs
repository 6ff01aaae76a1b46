//! The commands that only print: schema, long form, completions, manual page.
//!
//! None of them starts anything or reads a module.

use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, Failure, print};

/// `tollgate schema`.
pub(super) fn schema() -> Result<(), Failure> {
    print(format!("{:#}\n", tollgate_config::schema()).as_bytes())
}

/// `tollgate config expand FILE`.
pub(super) fn expanded(file: &Path) -> Result<(), Failure> {
    let unreadable = |source: io::Error| Failure::Unreadable { path: file.to_owned(), source };
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let long = tollgate_config::expand(&text, file).map_err(Failure::Config)?;
    print(long.as_bytes())
}

/// `tollgate completions SHELL`.
pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    // Left to itself, the crate offers hidden commands too.
    let all = Cli::command();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let mut command = Command::new("tollgate").version(env!("CARGO_PKG_VERSION")).subcommands(shown);
    clap_complete::generate(shell, &mut command, "tollgate", &mut script);
    print(&script)
}

/// `tollgate man`: one page, with a part for each command.
pub(super) fn man() -> Result<(), Failure> {
    let mut page = Vec::new();
    let mut command = Cli::command();
    command.build();
    let man = Man::new(command.clone()).title("TOLLGATE");
    write_man(&mut page, &man, &command).map_err(Failure::Output)?;
    print(&page)
}

fn write_man(page: &mut Vec<u8>, man: &Man, command: &Command) -> io::Result<()> {
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    for subcommand in command.get_subcommands() {
        write_command(page, subcommand)?;
    }
    man.render_extra_section(page)?;
    man.render_version_section(page)
}

/// A command's own page, its sections one level lower, then those of the commands under it.
fn write_command(page: &mut Vec<u8>, command: &Command) -> io::Result<()> {
    // `help` is listed with every command and says nothing of its own; what is hidden is for no reader.
    if command.get_name() == "help" || command.is_hide_set() {
        return Ok(());
    }
    if command.has_subcommands() {
        return command.get_subcommands().try_for_each(|subcommand| write_command(page, subcommand));
    }
    let man = Man::new(command.clone());
    let mut sections = Vec::new();
    man.render_synopsis_section(&mut sections)?;
    man.render_description_section(&mut sections)?;
    man.render_options_section(&mut sections)?;
    let sections = String::from_utf8_lossy(&sections).replace("\n.SH ", "\n.SS ");
    let name = command.get_bin_name().unwrap_or(command.get_name());
    writeln!(page, ".SH \"{}\"", name.to_uppercase())?;
    page.write_all(sections.as_bytes())
}
