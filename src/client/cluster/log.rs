//! The driver's log.

use std::io;

use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use kube::api::LogParams;
use kube::{Error, ResourceExt as _};

use super::{ClusterClient, driver_pod};
use crate::api::{DRIVER_CONTAINER, SparkBatch};
use crate::client::{ClientError, LOOK_EVERY, LogOptions, MAX_FAILED_LOOKS};

/// How far the log of a driver has been read.
#[derive(Default)]
struct Read {
    pod: String,
    /// When the last line was written that was shown, as the log is asked for with times if it is followed.
    last: Option<Timestamp>,
    was_opened: bool,
    /// Nothing more will come.
    is_over: bool,
}

/// How a look at a log ended.
enum Look {
    /// All that there was has been shown.
    Ended,
    /// There is no log, or not yet, or not any more.
    Missing,
    /// The connection broke.
    Broken(ClientError),
}

impl ClusterClient {
    pub(in crate::client) async fn log(
        &self,
        asked: &str,
        options: LogOptions,
        out: &mut (dyn io::Write + Send),
    ) -> Result<(), ClientError> {
        let name = self.find(asked).await?.name_any();
        let (mut read, mut has_read, mut failures) = (Read::default(), false, 0);
        loop {
            let failure = match self.batches.get_opt(&name).await.map_err(|error| self.failed(&error)) {
                Ok(Some(batch)) => {
                    let failure = self.read_on(&batch, options, &mut read, out).await?;
                    has_read |= read.was_opened;
                    // The phase is of before the look: what was written before the end has been shown.
                    let goes_on = options.follow && (!batch.phase().is_final() || failure.is_some());
                    if !goes_on {
                        return failure.map_or_else(|| self.tell_unless(has_read, &batch, out), Err);
                    }
                    failure
                }
                Ok(None) => return Err(ClientError::NotFound(asked.to_owned())),
                Err(error @ ClientError::Unavailable(_)) if options.follow => Some(error),
                Err(error) => return Err(error),
            };
            failures = if failure.is_some() { failures + 1 } else { 0 };
            if let Some(error) = failure.filter(|_| failures > MAX_FAILED_LOOKS) {
                return Err(error);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Shows what is new in the log of the batch's driver, to its end if it is followed. A log that ends before its
    /// driver (the API server was restarted, a log rotated, an idle connection cut) is opened again by the next call.
    /// What it failed with may pass.
    async fn read_on(
        &self,
        batch: &SparkBatch,
        options: LogOptions,
        read: &mut Read,
        out: &mut (dyn io::Write + Send),
    ) -> Result<Option<ClientError>, ClientError> {
        let Some(pod) = driver_pod(batch) else { return Ok(None) };
        if read.pod != pod {
            *read = Read { pod, ..Read::default() };
        }
        if read.is_over {
            return Ok(None);
        }
        let has_driver_ended = batch.phase().is_final() || exit_code(batch).is_some();
        match self.look(options, read, out).await? {
            Look::Broken(error) => Ok(Some(error)),
            Look::Ended | Look::Missing => {
                read.is_over = has_driver_ended;
                Ok(None)
            }
        }
    }

    async fn look(
        &self,
        options: LogOptions,
        read: &mut Read,
        out: &mut (dyn io::Write + Send),
    ) -> Result<Look, ClientError> {
        // The server knows whole seconds alone, and the client rounds: what is known already is passed over below.
        let since_time = read.last.and_then(|last| last.checked_sub(SignedDuration::from_secs(1)).ok());
        let params = LogParams {
            container: Some(DRIVER_CONTAINER.to_owned()),
            follow: options.follow,
            timestamps: options.follow,
            tail_lines: options.tail.map(i64::from).filter(|_| since_time.is_none()),
            since_time,
            ..LogParams::default()
        };
        let mut lines = match self.pods.log_stream(&read.pod, &params).await {
            Ok(stream) => stream.lines(),
            Err(Error::Api(status)) if matches!(status.code, 400 | 404) => return Ok(Look::Missing),
            Err(error) => {
                return match self.failed(&error) {
                    error @ ClientError::Unavailable(_) if options.follow => Ok(Look::Broken(error)),
                    error => Err(error),
                };
            }
        };
        read.was_opened = true;
        loop {
            match lines.try_next().await {
                Ok(Some(line)) => show(&line, options, read, out)?,
                Ok(None) => return Ok(Look::Ended),
                Err(error) if options.follow => return Ok(Look::Broken(ClientError::Unavailable(error.to_string()))),
                Err(error) => return Err(ClientError::Unavailable(error.to_string())),
            }
        }
    }

    /// Says in place of a log that was not read why there is none.
    fn tell_unless(
        &self,
        has_read: bool,
        batch: &SparkBatch,
        out: &mut (dyn io::Write + Send),
    ) -> Result<(), ClientError> {
        if has_read {
            return Ok(());
        }
        let batch = self.batch_of(batch);
        let reason = batch.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let message = batch.message.map(|message| format!(": {message}")).unwrap_or_default();
        Ok(writeln!(out, "no log of a driver: the batch is {}{reason}{message}", batch.phase)?)
    }
}

/// Shows a line, without the time before it, unless it has been shown.
fn show(line: &str, options: LogOptions, read: &mut Read, out: &mut (dyn io::Write + Send)) -> io::Result<()> {
    let mut text = line;
    if let Some((time, rest)) = timed(line).filter(|_| options.follow) {
        if read.last.is_some_and(|last| time <= last) {
            return Ok(());
        }
        (read.last, text) = (Some(time), rest);
    }
    writeln!(out, "{text}")?;
    out.flush()
}

fn timed(line: &str) -> Option<(Timestamp, &str)> {
    let (time, rest) = line.split_once(' ').unwrap_or((line, ""));
    Some((time.parse().ok()?, rest))
}

fn exit_code(batch: &SparkBatch) -> Option<i32> {
    batch.status.as_ref()?.driver.as_ref()?.exit_code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_once_and_without_its_time() {
        let (mut read, mut out) = (Read::default(), Vec::new());
        let options = LogOptions { follow: true, tail: None };
        for line in [
            "2026-01-01T00:00:00.000000001Z one",
            "2026-01-01T00:00:00.000000002Z ",
            "2026-01-01T00:00:00.000000001Z one",
            "2026-01-01T00:00:00.000000003Z three",
            "no time",
        ] {
            show(line, options, &mut read, &mut out).unwrap();
        }
        assert_eq!(String::from_utf8(out).unwrap(), "one\n\nthree\nno time\n");
    }
}
