//! Flags of the controller.

use std::collections::BTreeMap;

use clap::Args;
use jiff::SignedDuration;

use super::Failure;
use crate::api;
use crate::controller::ControllerConfig;
use crate::plan::Defaults;

#[derive(Debug, Args)]
pub(super) struct ControllerArgs {
    /// Image of driver and executors for batches that name none.
    #[arg(long, env = "SPARKBATCH_SPARK_IMAGE")]
    spark_image: Option<String>,
    /// Pull policy of that image.
    #[arg(long, env = "SPARKBATCH_SPARK_IMAGE_PULL_POLICY", value_parser = ["Always", "IfNotPresent", "Never"])]
    spark_image_pull_policy: Option<String>,
    /// Service account of drivers for batches that name none.
    #[arg(long, env = "SPARKBATCH_DRIVER_SERVICE_ACCOUNT", default_value = "spark")]
    driver_service_account: String,
    /// Spark conf of batches that do not set the key: 'key=value', any number of times, or commas between.
    #[arg(long, env = "SPARKBATCH_SPARK_CONF", value_delimiter = ',', value_parser = conf_pair)]
    spark_conf: Vec<(String, String)>,
    /// How long a batch may wait for its driver to run, as in '10m' or '90s'.
    #[arg(long, env = "SPARKBATCH_DRIVER_START_TIMEOUT", default_value = "10m")]
    driver_start_timeout: SignedDuration,
    /// Batches that are worked on at once.
    #[arg(long, env = "SPARKBATCH_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
}

impl ControllerArgs {
    pub(super) fn config(self) -> Result<ControllerConfig, Failure> {
        let conf: BTreeMap<_, _> = self.spark_conf.into_iter().collect();
        let mut problems = Vec::new();
        api::validation::check_conf(&conf, "--spark-conf", &mut problems);
        if let Some(problem) = problems.first() {
            return Err(problem.to_string().into());
        }
        if self.driver_start_timeout <= SignedDuration::ZERO {
            return Err("--driver-start-timeout: must be longer than nothing".into());
        }
        Ok(ControllerConfig {
            defaults: Defaults {
                image: self.spark_image,
                image_pull_policy: self.spark_image_pull_policy,
                service_account: self.driver_service_account,
                conf,
            },
            start_timeout: self.driver_start_timeout,
            concurrency: self.concurrency,
        })
    }
}

fn conf_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write key=value")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        controller: ControllerArgs,
    }

    #[test]
    fn default_conf_is_held_against_the_rules_of_conf() {
        let parse =
            |conf: &str| Flags::try_parse_from(["controller", "--spark-conf", conf]).unwrap().controller.config();
        assert!(parse("spark.a=b,spark.c=d=e").is_ok());
        assert!(parse("spark.master=local").unwrap_err().to_string().contains("spark.master"));
    }
}
