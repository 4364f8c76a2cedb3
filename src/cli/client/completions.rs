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

/// Commands and flags that the last of these words may become, a line each.
///
/// kubectl: `pluginCompletion`, of the executable `kubectl_complete-<plugin>`.
pub(in crate::cli) fn candidates(plugin: &clap::Command, words: &[String]) -> String {
    let Some((word, before)) = words.split_last() else { return String::new() };
    let known: Vec<String> = match before.first() {
        None => plugin.get_subcommands().map(|command| command.get_name().to_owned()).collect(),
        Some(command) if word.starts_with('-') => {
            let command = plugin.find_subcommand(command);
            let flags = command.into_iter().flat_map(clap::Command::get_arguments).filter_map(clap::Arg::get_long);
            flags.map(|flag| format!("--{flag}")).collect()
        }
        Some(_) => Vec::new(),
    };
    known.into_iter().filter(|known| known.starts_with(word.as_str())).map(|known| known + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_is_told_commands_and_their_flags() {
        let plugin = crate::cli::Plugin::command();
        let told =
            |words: &[&str]| candidates(&plugin, &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(told(&["l"]), "list\nlogs\n");
        assert_eq!(told(&["submit", "--driver-m"]), "--driver-memory\n");
        assert_eq!(told(&["logs", "etl", "--fol"]), "--follow\n");
        assert_eq!(told(&["logs", ""]) + &told(&["none", "-"]) + &told(&[]), "");
    }

    #[test]
    fn each_shell_completes_the_flags_of_spark_submit() {
        for shell in [Known::Bash, Known::Zsh, Known::Fish] {
            let mut text = Vec::new();
            CompletionsArgs { shell }.print(&mut text).unwrap();
            assert!(String::from_utf8(text).unwrap().contains("driver-java-options"), "{shell:?}");
        }
    }
}
