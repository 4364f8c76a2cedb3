//! Flags for what is a credential: the facade's to keep, and whatever shows conf's to hide.

use clap::Args;

use super::Failure;
use crate::api::redaction::{self, Redaction};

#[derive(Debug, Args)]
pub(super) struct RedactionArgs {
    /// Regular expression: conf values whose key or text it matches are credentials. They are shown nowhere, and the
    /// REST API keeps them in Secrets.
    #[arg(long, env = "SPARKBATCH_SECRET_CONF_PATTERN", default_value = redaction::DEFAULT_PATTERN)]
    secret_conf_pattern: String,
}

impl RedactionArgs {
    pub(super) fn redaction(&self) -> Result<Redaction, Failure> {
        Redaction::new(&self.secret_conf_pattern).map_err(|error| format!("--secret-conf-pattern: {error}").into())
    }
}
