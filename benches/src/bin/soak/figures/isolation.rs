//! What a fresh instance for each exchange costs, in CPU time of the whole proxy per request, against one VM for all.

use std::time::Duration;

use anyhow::ensure;
use tollgate_benches::cores;
use tollgate_benches::origin::Origin;
use tollgate_benches::report::Report;
use tollgate_benches::rounds::{self, Amount};
use tollgate_benches::target::Target;
use tollgate_benches::target::tollgate::Tollgate;

use crate::client::Client;
use crate::guests::{self, STAMP};
use crate::section::Section;
use crate::stage::Stage;

pub(super) fn run(stage: &Stage, section: &mut Section) -> anyhow::Result<()> {
    let origin = Origin::start(stage.cores.map(|cores| cores.load))?;
    if let Err(why) = is_fresh(stage) {
        let why = why.to_string();
        section.figure("cost of isolation: request", format!("skipped: {}", why.lines().next().unwrap_or_default()));
        return Ok(());
    }
    let tollgate = Tollgate { program: stage.tollgate.clone(), filters: stage.filters.clone() };
    let plans = tollgate.isolation_plans(stage.folder.path(), origin.address())?;
    if let Some(cores) = stage.cores {
        cores::pin(cores.target)?;
    }
    let targets: Result<Vec<_>, _> =
        plans.into_iter().map(|plan| Target::start(plan, stage.folder.path(), &[])).collect();
    if let Some(cores) = stage.cores {
        cores::pin(cores.load)?;
    }
    let mut targets = targets?;
    let rounds = if stage.short { 3 } else { 9 };
    let amount = Amount { rounds, time: Duration::from_secs(2), ramp: Duration::from_millis(300), connections: 32 };
    let samples = rounds::run(&mut targets, &amount)?;
    for row in Report::of(&targets, &samples).rows {
        let added = row.added_micros.unwrap_or_default();
        section.figure(
            format!("{}: CPU µs/request", row.target),
            format!(
                "median {:.2}; over worker isolation {:+.2} [{:+.2} .. {:+.2}] in {} requests",
                row.cpu_micros.median, added.median, added.min, added.max, row.requests
            ),
        );
    }
    Ok(())
}

/// Whether two exchanges on one connection really meet an instance each; `Err` says why not.
fn is_fresh(stage: &Stage) -> anyhow::Result<()> {
    let module = stage.place("counter.wasm", &guests::counter()?)?;
    let proxy = stage.start(&format!(
        "cache: off\nfilters: {{ counter: {{ wasm: {module:?}, isolation: request }} }}\nroutes: [{{ to: echo, filters: [counter] }}]\n"
    ))?;
    let mut client = Client::connect(proxy.address)?;
    let mut count = || anyhow::Ok(client.ask("/", "")?.field(STAMP).map(str::to_owned));
    let (first, second) = (count()?, count()?);
    ensure!(first.is_some() && first == second, "this proxy takes the key and keeps one VM for all exchanges");
    Ok(())
}
