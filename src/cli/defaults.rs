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
    /// Spark conf of batches that do not set the key: 'key=value', any number of times, or each on its line.
    #[arg(long, env = "SPARKBATCH_SPARK_CONF", value_parser = conf_lines)]
    spark_conf: Vec<BTreeMap<String, String>>,
}

impl DefaultsArgs {
    pub(super) fn defaults(self) -> Result<Defaults, Failure> {
        let conf: BTreeMap<_, _> = self.spark_conf.into_iter().flatten().collect();
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

/// Lines and not commas: the values of many keys are lists with commas.
fn conf_lines(text: &str) -> Result<BTreeMap<String, String>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (key, value) = line.split_once('=').ok_or_else(|| format!("write key=value, not '{line}'"))?;
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        defaults: DefaultsArgs,
    }

    fn conf(given: &[&str]) -> Result<Defaults, Failure> {
        let flags = given.iter().flat_map(|conf| ["--spark-conf", conf]);
        Flags::try_parse_from(["run"].into_iter().chain(flags)).unwrap().defaults.defaults()
    }

    #[test]
    fn default_conf_is_held_against_the_rules_of_conf() {
        assert!(conf(&["spark.a=b"]).is_ok());
        assert!(conf(&["spark.master=local"]).unwrap_err().to_string().contains("spark.master"));
    }

    #[test]
    fn default_conf_is_given_by_flags_or_lines_and_its_values_may_be_lists() {
        let pairs = conf(&["spark.jars.packages=a:b:1,c:d:2", "spark.c=d=e\n\n spark.f = g \n"]).unwrap().conf;
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("spark.c", "d=e"), ("spark.f", "g"), ("spark.jars.packages", "a:b:1,c:d:2")]);
        let refused = Flags::try_parse_from(["run", "--spark-conf", "spark.a"]).unwrap_err();
        assert!(refused.to_string().contains("write key=value, not 'spark.a'"));
    }
}
