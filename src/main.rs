//! The `sparkbatch` program: one binary for controller, facade and tools.

use std::process::ExitCode;

use clap::Parser as _;
use sparkbatch::cli::{self, Cli};

#[tokio::main]
async fn main() -> ExitCode {
    match cli::run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sparkbatch: {error}");
            ExitCode::FAILURE
        }
    }
}
