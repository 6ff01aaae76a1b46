//! Where it is measured: an origin, a folder, who takes part, and which core is whose.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::thread::CpuSet;
use tempfile::TempDir;

use crate::cases::Case;
use crate::cast::{Cast, Who};
use crate::cores::{self, Cores};
use crate::error::BenchError;
use crate::load::{Ask, Load};
use crate::origin::Origin;
use crate::results::{Absent, CaseResult, Round, Row};
use crate::rounds::{self, Amount, Job};
use crate::target::{Door, Plan, Setting, Target};
use crate::tls::Identity;
use crate::{cpu, syscalls};

/// How long system calls are counted at the most.
const COUNTED: Duration = Duration::from_millis(700);
/// Why calls of a target are not counted that another tool looks at.
const UNDER: &str = "it runs under a tool";

/// See the module.
pub struct Field {
    /// Who takes part.
    pub cast: Cast,
    /// How much is measured.
    pub amount: Amount,
    /// A tool with its arguments that runs the targets, such as a profiler; empty for none.
    pub under: Vec<String>,
    strace: PathBuf,
    cores: Option<Cores>,
    /// The cores of this process before any was chosen.
    allowed: CpuSet,
    origin: Origin,
    identity: Identity,
    folder: TempDir,
}

impl Field {
    /// With an origin on the first of these cores, where this thread is left too.
    pub fn open(cast: Cast, amount: Amount, strace: &Path, cores: Option<Cores>) -> Result<Field, BenchError> {
        let folder = tempfile::tempdir().map_err(BenchError::while_doing("making a folder"))?;
        let identity = Identity::make(folder.path()).map_err(BenchError::while_doing("making a certificate"))?;
        let origin = Origin::start(cores.map(|cores| cores.load));
        let origin = origin.map_err(BenchError::while_doing("starting the origin"))?;
        let allowed = cores::allowed().map_err(BenchError::while_doing("asking for cores"))?;
        let (under, strace) = (Vec::new(), strace.into());
        let field = Field { cast, amount, under, strace, cores, allowed, origin, identity, folder };
        field.pin(|cores| cores.load)?;
        Ok(field)
    }

    /// For targets of this kind, behind which so many connections are worth keeping.
    pub fn setting(&self, door: Door, connections: usize) -> Setting<'_> {
        let (folder, origin) = (self.folder.path(), self.origin.address());
        Setting { folder, origin, door, identity: &self.identity, connections }
    }

    /// Starts a target on its core.
    pub fn start(&self, plan: Plan, setting: &Setting<'_>) -> Result<Target, BenchError> {
        self.start_under(plan, setting, &self.under)
    }

    /// Starts a target on whatever core, such as one that has much to compile first.
    pub fn start_anywhere(&self, plan: Plan, setting: &Setting<'_>) -> Result<Target, BenchError> {
        self.anywhere()?;
        let target = Target::start(plan, setting, &self.under);
        self.pin(|cores| cores.load)?;
        target
    }

    /// Starts a target on its core under a tool with its arguments.
    pub fn start_under(&self, plan: Plan, setting: &Setting<'_>, under: &[String]) -> Result<Target, BenchError> {
        self.pin(|cores| cores.target)?;
        let target = Target::start(plan, setting, under);
        self.pin(|cores| cores.load)?;
        target
    }

    /// Starts a target on its core that has no origin behind it, so that nothing is proven but that it answers.
    pub fn start_unproven(&self, plan: Plan, setting: &Setting<'_>) -> Result<Target, BenchError> {
        self.pin(|cores| cores.target)?;
        let target = Target::start_unproven(plan, setting, &self.under);
        self.pin(|cores| cores.load)?;
        target
    }

    /// How many cores there are for all of it.
    pub fn cores(&self) -> u32 {
        self.allowed.count()
    }

    fn anywhere(&self) -> Result<(), BenchError> {
        cores::allow(&self.allowed).map_err(BenchError::while_doing("leaving a core"))
    }

    fn pin(&self, core: impl Fn(Cores) -> usize) -> Result<(), BenchError> {
        let pinned = self.cores.map_or(Ok(()), |cores| cores::pin(core(cores)));
        pinned.map_err(BenchError::while_doing("pinning to a core"))
    }

    /// What came of each job; see [`rounds::run`]. The load does not sleep where it has a core to itself.
    fn rounds(&self, targets: &mut [Target], jobs: &[Job]) -> Vec<Result<Vec<Round>, BenchError>> {
        rounds::run(targets, jobs, &self.amount, self.cores.map(|_| &self.origin))
    }

    /// The same where one that fails leaves nothing to say.
    pub fn all_rounds(&self, targets: &mut [Target], jobs: &[Job]) -> Result<Vec<Vec<Round>>, BenchError> {
        self.rounds(targets, jobs).into_iter().collect()
    }

    /// Measures all who are there, and whom `only` names unless it is empty. Who fails has a reason in place of figures.
    pub fn play(&self, case: &Case, only: &[String]) -> CaseResult {
        let (mut targets, mut jobs, mut rows, mut failed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for who in case.who.iter().filter(|who| who.is_meant(only)) {
            match self.enter(*who, case) {
                Ok(Some((target, ask))) => {
                    jobs.push(Job { target: targets.len(), ask, rate: Some(case.pace) });
                    targets.push(target);
                }
                Ok(None) => {}
                Err(error) => failed.push(Absent::of(&who.name(), &error)),
            }
        }
        let found = self.rounds(&mut targets, &jobs);
        for ((target, job), found) in targets.iter_mut().zip(&jobs).zip(found) {
            match found.and_then(|rounds| self.row(target, job, rounds)) {
                Ok(row) => rows.push(row),
                Err(error) => failed.push(Absent::of(&target.name, &error)),
            }
        }
        CaseResult { name: case.name.to_owned(), what: case.what.to_owned(), pace: case.pace, rows, failed }
    }

    /// Starts one for a case, and says what it is asked; `None` where it is not there.
    fn enter(&self, who: Who, case: &Case) -> Result<Option<(Target, Ask)>, BenchError> {
        let setting = self.setting(case.door, case.connections * case.streams);
        let Some(plan) = self.cast.plan(who, &setting)? else { return Ok(None) };
        let target = self.start(plan, &setting)?;
        let ask = case.ask(&target).map_err(BenchError::while_doing("preparing a request"))?;
        Ok(Some((target, ask)))
    }

    fn row(&self, target: &mut Target, job: &Job, rounds: Vec<Round>) -> Result<Row, BenchError> {
        let used = target.memory().map_err(BenchError::while_doing("reading memory"))?;
        let (target, over, row) = (target.name.clone(), target.over.clone(), self.counted(target, job)?);
        let (resident, anonymous) = (used.resident, used.anonymous);
        Ok(Row { target, over, rounds, resident, anonymous, ..row })
    }

    /// A row of nothing but its calls, or why there are none.
    fn counted(&self, target: &mut Target, job: &Job) -> Result<Row, BenchError> {
        let why_not = if self.under.is_empty() { syscalls::missing(&self.strace) } else { Some(UNDER.to_owned()) };
        if why_not.is_some() {
            return Ok(Row { uncounted: why_not, ..Row::default() });
        }
        Ok(match self.calls(target, job)? {
            Ok(calls) => Row { calls: Some(calls), ..Row::default() },
            Err(why) => Row { miscounted: Some(why), ..Row::default() },
        })
    }

    /// System calls for each request of a closed loop, or why strace did not count them.
    fn calls(&self, target: &mut Target, job: &Job) -> Result<Result<f64, String>, BenchError> {
        let driving = || BenchError::while_doing("driving a target");
        let used = |target: &Target| cpu::of_threads(target.id()).map_err(BenchError::while_doing("reading CPU time"));
        let (before, mut load) = (used(target)?, Load::open(&job.ask).map_err(driving())?);
        load.run(self.amount.ramp).and_then(|_| load.drain()).map_err(driving())?;
        let threads = syscalls::serving(&before, &used(target)?);
        let (tallies, calls) = syscalls::during(&self.strace, &threads, self.folder.path(), || {
            let (some, rest) =
                load.run(COUNTED.min(self.amount.time)).and_then(|some| Ok((some, load.drain()?))).map_err(driving())?;
            Ok([some, rest])
        })?;
        rounds::accept(target, &tallies)?;
        let requests: u64 = tallies.iter().map(|tally| tally.answered).sum();
        Ok(calls.map(|calls| calls as f64 / requests as f64))
    }
}
