//! Flags for what batches get that do not say otherwise: the controller's to give, and the facade's to show in dry runs.

use std::collections::BTreeMap;

use clap::Args;

use super::Failure;
use crate::api;
use crate::plan::Defaults;

#[derive(Debug, Args)]
pub(super) struct DefaultsArgs {
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
}

impl DefaultsArgs {
    pub(super) fn defaults(self) -> Result<Defaults, Failure> {
        let conf: BTreeMap<_, _> = self.spark_conf.into_iter().collect();
        let mut problems = Vec::new();
        api::validation::check_conf(&conf, "--spark-conf", &mut problems);
        if let Some(problem) = problems.first() {
            return Err(problem.to_string().into());
        }
        Ok(Defaults {
            image: self.spark_image,
            image_pull_policy: self.spark_image_pull_policy,
            service_account: self.driver_service_account,
            conf,
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
        defaults: DefaultsArgs,
    }

    #[test]
    fn default_conf_is_held_against_the_rules_of_conf() {
        let parse = |conf: &str| Flags::try_parse_from(["run", "--spark-conf", conf]).unwrap().defaults.defaults();
        assert!(parse("spark.a=b,spark.c=d=e").is_ok());
        assert!(parse("spark.master=local").unwrap_err().to_string().contains("spark.master"));
    }
}
