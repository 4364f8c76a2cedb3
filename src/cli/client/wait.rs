//! Waiting for the end of a batch.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::output::{executors, shown};
use crate::api::Phase;
use crate::cli::Failure;
use crate::client::{Batch, ClientError, Killed, LOOK_EVERY, MAX_FAILED_LOOKS, Target};

/// Exit code of a batch that was killed: as of a program that was sent SIGTERM, which is what its driver got.
const KILLED: u8 = 143;
/// Exit code of a wait that was interrupted, the shell's for SIGINT.
const INTERRUPTED: u8 = 130;
/// Tries to kill a batch before the last.
const KILL_TRIES: u32 = 10;

/// What asks this program to end before the batch has.
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// From now on they are heard, and do not end the program any more.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The exit code for the next of them, the shell's.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => INTERRUPTED,
            _ = self.terminate.recv() => KILLED,
        }
    }
}

/// Waits until `batch` has ended, with its progress on standard error. `flags` are those that name the same place, for
/// what the user may type. With `cancelling`, the batch is killed if one of these comes.
///
/// The exit code is the batch's: 0 if it succeeded, the driver's if it failed and that is known, else 1.
pub(super) async fn wait(
    target: &Target,
    batch: &Batch,
    cancelling: Option<Interrupts>,
    flags: &str,
) -> Result<ExitCode, Failure> {
    let handle = batch.handle();
    let cancels = cancelling.is_some();
    let mut interrupts = match cancelling {
        Some(interrupts) => interrupts,
        None => Interrupts::listen()?,
    };
    let code = tokio::select! {
        ended = ended(target, batch) => return ended,
        code = interrupts.next() => code,
    };
    let kill = format!("sparkbatch kill {handle}{flags}");
    if !cancels {
        let follow = format!("sparkbatch logs -f {handle}{flags}");
        say(&format!("\nThe batch goes on. Follow it:  {follow}\n                 End it:  {kill}"));
        return Ok(ExitCode::from(code));
    }
    let killed = tokio::select! {
        killed = killed(target, &handle) => killed.map_err(|error| error.to_string()),
        _ = interrupts.next() => Err("interrupted again".to_owned()),
    };
    match killed {
        Ok(Killed::HadEnded) => say(&format!("\nbatch {handle} had ended before")),
        Ok(_) => say(&format!("\nbatch {handle} is being killed")),
        Err(error) => say(&format!("\nThe batch may go on, as it could not be killed: {error}\nEnd it:  {kill}")),
    }
    Ok(ExitCode::from(code))
}

/// Kills a batch, in more than one try where no answer comes: a pod has thirty seconds until it is ended for good.
async fn killed(target: &Target, handle: &str) -> Result<Killed, ClientError> {
    for _ in 0..KILL_TRIES {
        match target.kill(handle).await {
            Err(ClientError::Unavailable(_)) => tokio::time::sleep(LOOK_EVERY).await,
            // Somebody else has done it.
            Err(ClientError::NotFound(_)) => return Ok(Killed::Deleted),
            done => return done,
        }
    }
    target.kill(handle).await
}

/// Tells the user, who may be gone.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

async fn ended(target: &Target, batch: &Batch) -> Result<ExitCode, Failure> {
    let (handle, started) = (batch.handle(), Instant::now());
    let mut progress = Progress::default();
    let mut failures = 0;
    loop {
        match target.get(&handle).await {
            Ok(batch) => {
                failures = 0;
                progress.show(&batch, started);
                if batch.phase.is_final() {
                    Progress::end(&batch);
                    return Ok(ExitCode::from(code(&batch)));
                }
            }
            Err(ClientError::NotFound(_)) => {
                Progress::clear();
                say(&format!("batch {handle} was deleted"));
                return Ok(ExitCode::from(KILLED));
            }
            Err(ClientError::Unavailable(_)) if failures < MAX_FAILED_LOOKS => failures += 1,
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The exit code that tells of a batch that has ended.
fn code(batch: &Batch) -> u8 {
    let of_driver = batch.exit_code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
    match batch.phase {
        Phase::Succeeded => 0,
        Phase::Killed => KILLED,
        _ => of_driver.unwrap_or(1),
    }
}

/// One line that changes on a terminal; elsewhere a line per change.
#[derive(Default)]
struct Progress {
    last: String,
}

impl Progress {
    fn show(&mut self, batch: &Batch, started: Instant) {
        let state = line(batch);
        let seconds = started.elapsed().as_secs();
        let elapsed = format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        let mut stderr = std::io::stderr();
        // Nothing is lost with a progress line that cannot be written.
        let _ = if stderr.is_terminal() {
            write!(stderr, "\r\u{1b}[K{state}, {elapsed}").and_then(|()| stderr.flush())
        } else if state == self.last {
            Ok(())
        } else {
            writeln!(stderr, "{state}, {elapsed}")
        };
        self.last = state;
    }

    fn clear() {
        if std::io::stderr().is_terminal() {
            eprintln!();
        }
    }

    fn end(batch: &Batch) {
        Self::clear();
        if let Some(message) = batch.message.as_deref().filter(|_| batch.phase != Phase::Succeeded) {
            say(&shown(message));
        }
    }
}

fn line(batch: &Batch) -> String {
    let reason = batch.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let executors = executors(batch).map(|counts| format!(", executors {counts}")).unwrap_or_default();
    format!("batch {}: {}{reason}{executors}", batch.handle(), batch.phase)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Phase::Succeeded, Some(0), 0)]
    #[case(Phase::Succeeded, None, 0)]
    #[case(Phase::Failed, Some(42), 42)]
    #[case(Phase::Failed, Some(0), 1)]
    #[case(Phase::Failed, Some(256), 1)]
    #[case(Phase::Failed, None, 1)]
    #[case(Phase::Killed, Some(1), 143)]
    fn the_exit_code_tells_how_it_ended(#[case] phase: Phase, #[case] driver: Option<i32>, #[case] expected: u8) {
        assert_eq!(code(&Batch { phase, exit_code: driver, ..Batch::default() }), expected);
    }
}
