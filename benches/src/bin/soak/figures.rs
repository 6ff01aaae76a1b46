//! How long things take that happen seldom: after a trap, behind a loop, from a file to its first answer, at the start.

mod containment;
mod start;
mod swap;

use crate::section::Section;
use crate::stage::Stage;

/// See the module.
pub(crate) fn run(stage: &Stage) -> anyhow::Result<Section> {
    let mut section = Section::new("figures: one thing at a time, nothing else running");
    containment::run(stage, &mut section)?;
    swap::run(stage, &mut section)?;
    start::run(stage, &mut section)?;
    Ok(section)
}
