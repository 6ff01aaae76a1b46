//! From the rename of a module's file, and from its upload, to the first answer of the new generation.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use crate::client::Client;
use crate::guests::{LARGE, SDK_SIZE, STAMP, stamper};
use crate::section::{Section, Times};
use crate::stage::{Proxy, Stage, replace};

/// How long one swap may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Swaps of each kind.
const COUNT: u64 = 20;
/// Modules that take turns when code comes from the cache: the proxy holds the code of one that serves and of three before it.
const TURNS: usize = 6;

pub(super) fn run(stage: &Stage, section: &mut Section) -> anyhow::Result<()> {
    let origin = stage.origin()?;
    let module = stage.place("latency.wasm", &stamper(1, 0)?)?;
    let proxy = stage.start(&format!(
        "cache: {{ dir: {:?} }}\nfilters: {{ stamp: {{ wasm: {module:?} }} }}\nroutes: [{{ to: \"http://{}\", filters: [stamp] }}]\n",
        stage.folder.path().join("code"),
        origin.address()
    ))?;
    let mut client = Client::connect(proxy.address)?;
    let count = if stage.short { COUNT / 3 } else { COUNT };
    for (size, functions, base) in [("2 KB", 0, 1_000), ("100 KB", SDK_SIZE, 2_000), ("2 MB", LARGE, 3_000)] {
        let cold = modules(base..base + count, functions)?;
        let found = by_file(&mut client, &module, &cold)?;
        section.figure(format!("file renamed → first new answer, {size} in WAT, never seen"), Times::of(found));
        let known: Vec<_> = cold.iter().take(TURNS).cycle().take(2 * TURNS).cloned().collect();
        let found = by_file(&mut client, &module, &known)?;
        section.figure(format!("the same, {size}, its code in the cache on disk"), Times::of(found));
        let between: Vec<_> = cold.iter().take(2).cycle().take(cold.len()).cloned().collect();
        let found = by_file(&mut client, &module, &between)?;
        section
            .figure(format!("the same, {size}, back to the generation before"), Times::of(found.into_iter().skip(2)));
        let fresh = modules(base + count..base + 2 * count, functions)?;
        match by_upload(&proxy, &mut client, &fresh)? {
            Some(found) => {
                section.figure(format!("upload begun → first new answer, {size}, never seen"), Times::of(found))
            }
            None => section.figure(format!("upload, {size}"), "skipped: this proxy takes no uploads"),
        }
    }
    section.must("SIGTERM ends the proxy of the swaps", proxy.end(), "exit code 0");
    Ok(())
}

/// A module with its number.
type Numbered = (u64, Vec<u8>);

fn modules(numbers: std::ops::Range<u64>, functions: usize) -> anyhow::Result<Vec<Numbered>> {
    numbers.map(|number| Ok((number, stamper(number, functions)?))).collect()
}

fn by_file(client: &mut Client, file: &Path, modules: &[Numbered]) -> anyhow::Result<Vec<Duration>> {
    let swap = |(number, bytes): &Numbered| {
        let began = Instant::now();
        replace(file, bytes)?;
        wait(client, *number)?;
        Ok(began.elapsed())
    };
    modules.iter().map(swap).collect()
}

/// None when there is nowhere to upload to.
fn by_upload(proxy: &Proxy, client: &mut Client, modules: &[Numbered]) -> anyhow::Result<Option<Vec<Duration>>> {
    let mut times = Vec::new();
    for (number, bytes) in modules {
        let began = Instant::now();
        // The admin endpoints close each connection after its answer.
        match Client::connect(proxy.admin)?.send("PUT", "/filters/stamp/module", bytes)?.status {
            404 | 405 => return Ok(None),
            status => ensure!((200..300).contains(&status), "an upload was answered with {status}"),
        }
        let status = Client::connect(proxy.admin)?.send("POST", "/filters/stamp/promote", b"")?.status;
        ensure!((200..300).contains(&status), "a promotion was answered with {status}");
        wait(client, *number)?;
        times.push(began.elapsed());
    }
    Ok(Some(times))
}

/// Asks until the new generation answers.
fn wait(client: &mut Client, number: u64) -> anyhow::Result<()> {
    let (word, deadline) = (number.to_string(), Instant::now() + PATIENCE);
    while Instant::now() < deadline {
        let reply = client.ask("/", "")?;
        ensure!(reply.status == 200, "status {} during a swap", reply.status);
        if reply.field(STAMP) == Some(word.as_str()) {
            return Ok(());
        }
    }
    bail!("generation {number} never answered")
}
