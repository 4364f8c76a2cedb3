//! Completions for shells.

use std::io::{self, Write};

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;

/// Shells that have completions.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CompletionsArgs {
    /// Whose completions
    #[arg(value_enum)]
    shell: Known,
}

impl CompletionsArgs {
    pub(in crate::cli) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let shell = match self.shell {
            Known::Bash => Shell::Bash,
            Known::Zsh => Shell::Zsh,
            Known::Fish => Shell::Fish,
        };
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut crate::cli::Cli::command(), "sparkbatch", &mut text);
        out.write_all(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_completes_the_flags_of_spark_submit() {
        for shell in [Known::Bash, Known::Zsh, Known::Fish] {
            let mut text = Vec::new();
            CompletionsArgs { shell }.print(&mut text).unwrap();
            assert!(String::from_utf8(text).unwrap().contains("driver-java-options"), "{shell:?}");
        }
    }
}
