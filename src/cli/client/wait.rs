//! Waiting for the end of a batch.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use super::output::{executors, shown};
use crate::api::Phase;
use crate::cli::Failure;
use crate::client::{Batch, ClientError, LOOK_EVERY, MAX_FAILED_LOOKS, Target};

/// Exit code of a batch that was killed: as of a program that was sent SIGTERM, which is what its driver got.
const KILLED: u8 = 143;
/// Exit code of a wait that was interrupted, the shell's for SIGINT.
const INTERRUPTED: u8 = 130;

/// Waits until `batch` has ended, with its progress on standard error. `how` is what the user types to address it.
///
/// The exit code is the batch's: 0 if it succeeded, the driver's if it failed and that is known, else 1.
pub(super) async fn wait(target: &Target, batch: &Batch, flags: &str) -> Result<ExitCode, Failure> {
    let handle = batch.handle();
    tokio::select! {
        ended = ended(target, batch) => ended,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            eprintln!(
                "\nThe batch goes on. Follow it:  sparkbatch logs -f {handle}{flags}\n                 End it:  \
                 sparkbatch kill {handle}{flags}"
            );
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
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
                eprintln!("batch {handle} was deleted");
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
            eprintln!("{}", shown(message));
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
