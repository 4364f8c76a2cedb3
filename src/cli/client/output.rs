//! Batches on a screen, and for programs.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use jiff::Timestamp;

use crate::api::Phase;
use crate::cli::Failure;
use crate::client::Batch;

/// How to show batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    #[default]
    Table,
    /// For people with wide screens.
    Wide,
    /// For programs.
    Json,
    /// For programs.
    Yaml,
    /// What to ask for each by.
    Name,
}

/// What text is written for.
pub(super) struct Screen {
    colours: bool,
    now: Timestamp,
}

impl Screen {
    /// Colours are for terminals whose user does not say `NO_COLOR`.
    pub(super) fn of_stdout() -> Self {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colours: std::io::stdout().is_terminal() && !is_plain, now: Timestamp::now() }
    }

    fn painted(&self, cell: &str, phase: Phase) -> String {
        let colour = match phase {
            Phase::Pending | Phase::Starting => "33",
            Phase::Running => "36",
            Phase::Succeeded => "32",
            Phase::Failed => "31",
            Phase::Killed => "35",
        };
        if self.colours { format!("\u{1b}[{colour}m{cell}\u{1b}[0m") } else { cell.to_owned() }
    }
}

/// Several batches.
pub(super) fn list(batches: &[Batch], output: Output, screen: &Screen) -> Result<String, Failure> {
    Ok(match output {
        Output::Json => serde_json::to_string_pretty(batches)? + "\n",
        Output::Yaml => serde_saphyr::to_string(&batches)?,
        Output::Name => batches.iter().map(|batch| batch.handle() + "\n").collect(),
        Output::Table => table(batches, false, screen),
        Output::Wide => table(batches, true, screen),
    })
}

/// One batch.
pub(super) fn one(batch: &Batch, output: Output, screen: &Screen) -> Result<String, Failure> {
    Ok(match output {
        Output::Json => serde_json::to_string_pretty(batch)? + "\n",
        Output::Yaml => serde_saphyr::to_string(batch)?,
        Output::Name => batch.handle() + "\n",
        Output::Table | Output::Wide => described(batch, screen),
    })
}

fn table(batches: &[Batch], wide: bool, screen: &Screen) -> String {
    let mut header = vec!["STATE", "ID", "NAME", "EXECUTORS", "AGE", "OWNER"];
    if wide {
        header.extend(["REASON", "APP ID", "DRIVER"]);
    }
    let rows: Vec<Vec<String>> = batches.iter().map(|batch| row(batch, wide, screen)).collect();
    let widths: Vec<usize> = (0..header.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(header[column].len()))
        .collect();
    let padded = |cells: &[String]| -> Vec<String> {
        cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect()
    };
    let header: Vec<String> = header.into_iter().map(str::to_owned).collect();
    let mut lines = vec![padded(&header).join("  ").trim_end().to_owned()];
    for (batch, row) in batches.iter().zip(&rows) {
        let mut cells = padded(row);
        cells[0] = screen.painted(&cells[0], batch.phase);
        lines.push(cells.join("  ").trim_end().to_owned());
    }
    lines.join("\n") + "\n"
}

fn row(batch: &Batch, wide: bool, screen: &Screen) -> Vec<String> {
    let or_dash = |text: Option<String>| text.map_or_else(|| "-".to_owned(), |text| shown(&text));
    let mut cells = vec![
        batch.phase.to_string(),
        or_dash(batch.id.map(|id| id.to_string())),
        or_dash(batch.resource.clone().or_else(|| batch.name.clone())),
        or_dash(executors(batch)),
        or_dash(batch.created.map(|created| age(created, screen.now))),
        or_dash(batch.owner.clone()),
    ];
    if wide {
        cells.push(or_dash(batch.reason.map(|reason| reason.to_string())));
        cells.push(or_dash(batch.app_id.clone()));
        cells.push(or_dash(batch.driver_pod.clone()));
    }
    cells
}

fn described(batch: &Batch, screen: &Screen) -> String {
    let phase = screen.painted(batch.phase.as_str(), batch.phase);
    let state = batch.reason.map_or_else(|| phase.clone(), |reason| format!("{phase} ({reason})"));
    let time = |time: Option<Timestamp>| time.map(|time| format!("{time} ({} ago)", age(time, screen.now)));
    let fields = [
        ("State", Some(state)),
        ("Message", batch.message.as_deref().map(shown)),
        ("Id", batch.id.map(|id| id.to_string())),
        ("Name", batch.name.as_deref().map(shown)),
        ("Resource", batch.resource.clone()),
        ("Namespace", batch.namespace.clone()),
        ("Owner", batch.owner.as_deref().map(shown)),
        ("Application", batch.app_id.as_deref().map(shown)),
        ("Attempt", batch.attempt.map(|attempt| attempt.to_string())),
        ("Executors", executors(batch)),
        ("Driver", batch.driver_pod.clone()),
        ("Exit code", batch.exit_code.map(|code| code.to_string())),
        ("Spark UI", batch.spark_ui_url.as_deref().map(shown)),
        ("Created", time(batch.created)),
        ("Running", time(batch.running_since)),
        ("Ended", time(batch.completed)),
    ];
    let lines = fields.into_iter().filter_map(|(name, value)| Some(format!("{:<13}{}\n", format!("{name}:"), value?)));
    lines.collect()
}

/// Running and asked for.
pub(super) fn executors(batch: &Batch) -> Option<String> {
    batch.executors.map(|executors| format!("{}/{}", executors.running, executors.requested))
}

/// What somebody else has written, without what would move the cursor.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A time span as kubectl shows it.
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 && seconds % 60 > 0 => format!("{minutes}m{}s", seconds % 60),
        () if hours < 3 => format!("{minutes}m"),
        () if hours < 48 => format!("{hours}h"),
        () => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ExecutorCounts;

    fn screen(colours: bool) -> Screen {
        Screen { colours, now: "2026-01-01T01:00:00Z".parse().unwrap() }
    }

    fn batch() -> Batch {
        Batch {
            id: Some(7),
            resource: Some("etl-abc".into()),
            phase: Phase::Running,
            executors: Some(ExecutorCounts { requested: 4, running: 3, ..ExecutorCounts::default() }),
            created: Some("2026-01-01T00:55:00Z".parse().unwrap()),
            owner: Some("alice\u{1b}[2J".into()),
            ..Batch::default()
        }
    }

    #[test]
    fn a_table_is_aligned_and_moves_no_cursor() {
        let text = list(&[batch(), Batch::default()], Output::Table, &screen(false)).unwrap();
        assert_eq!(
            text,
            "STATE    ID  NAME     EXECUTORS  AGE  OWNER\n\
             Running  7   etl-abc  3/4        5m   alice [2J\n\
             Pending  -   -        -          -    -\n"
        );
        let painted = list(&[batch()], Output::Table, &screen(true)).unwrap();
        assert!(painted.contains("\u{1b}[36mRunning\u{1b}[0m  7"), "{painted}");
        assert!(list(&[batch()], Output::Wide, &screen(false)).unwrap().contains("APP ID"));
        assert_eq!(list(&[batch()], Output::Name, &screen(true)).unwrap(), "etl-abc\n");
    }

    #[test]
    fn programs_get_what_they_can_read() {
        let json: serde_json::Value =
            serde_json::from_str(&list(&[batch()], Output::Json, &screen(true)).unwrap()).unwrap();
        assert_eq!((&json[0]["phase"], &json[0]["executors"]["running"]), (&"Running".into(), &3.into()));
        let yaml: serde_json::Value =
            serde_saphyr::from_str(&one(&batch(), Output::Yaml, &screen(true)).unwrap()).unwrap();
        assert_eq!(yaml, json[0]);
    }

    #[test]
    fn ages_are_short() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let ago = |seconds| age(Timestamp::from_second(now.as_second() - seconds).unwrap(), now);
        assert_eq!([5, 119, 150, 3600, 10_800, 200_000].map(ago), ["5s", "119s", "2m30s", "60m", "3h", "2d"]);
    }
}
