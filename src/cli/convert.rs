//! `sparkbatch convert`: manifests of kubeflow's operator as manifests of this one.

use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::Failure;
use super::render::read;
use crate::kubeflow::{Conversion, convert};

#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    /// Manifest of one `SparkApplication` (sparkoperator.k8s.io/v1beta2), in YAML or JSON; '-' for standard input.
    file: String,
}

impl ConvertArgs {
    /// Prints the `SparkBatch`, and into `report` what is not in it. The exit code is 1 if it could not run.
    pub(super) fn run(&self, out: &mut dyn Write, report: &mut dyn Write) -> Result<ExitCode, Failure> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", self.file);
        let text = read(&self.file).map_err(|error| failed(&error))?;
        let manifest: Value = serde_saphyr::from_str(&text).map_err(|error| failed(&error))?;
        let Conversion { batch, notes, problems } = convert(&manifest).map_err(|error| failed(&error))?;
        out.write_all(serde_saphyr::to_string(&batch)?.as_bytes())?;
        out.flush()?;
        let mut told = String::new();
        for note in &notes {
            writeln!(told, "{note}")?;
        }
        for problem in &problems {
            writeln!(told, "cannot run: {problem}")?;
        }
        report.write_all(told.as_bytes())?;
        Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
