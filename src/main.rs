//! The `sparkbatch` program: one binary for controller, facade and tools.

use std::process::ExitCode;

use sparkbatch::cli;

#[tokio::main]
async fn main() -> ExitCode {
    match cli::run(cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sparkbatch: {error}");
            ExitCode::FAILURE
        }
    }
}
