//! `spark-submit`'s own command line, and the batch that it asks for.
//!
//! Spark: `SparkSubmitOptionParser`, `SparkSubmitArguments` (3.5, 4.0, 4.1).

use std::collections::BTreeMap;

use clap::Args;

use crate::api::SparkBatchSpec;
use crate::api::conf_policy::canonical_key;

/// The driver's service account, which the resource has a field for.
const SERVICE_ACCOUNT: &str = "spark.kubernetes.authenticate.driver.serviceAccountName";

/// spark-submit's flags, the application and its arguments.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options of spark-submit")]
pub struct SubmitOptions {
    /// Accepted for the sake of existing scripts: the batch runs in the cluster that --livy-url or --context names.
    /// 'local' is refused
    #[arg(long, value_name = "URL", allow_hyphen_values = true)]
    pub master: Option<String>,
    /// 'cluster', which is how every batch runs. 'client' is refused
    #[arg(long, value_name = "MODE", allow_hyphen_values = true)]
    pub deploy_mode: Option<String>,
    /// Main class of a Java or Scala application
    #[arg(long = "class", value_name = "CLASS", allow_hyphen_values = true)]
    pub class_name: Option<String>,
    /// Name of the application
    #[arg(long, allow_hyphen_values = true)]
    pub name: Option<String>,
    /// Jars for the class paths of driver and executors, with commas between
    #[arg(long, allow_hyphen_values = true)]
    pub jars: Option<String>,
    /// Maven coordinates of jars, with commas between
    #[arg(long, allow_hyphen_values = true)]
    pub packages: Option<String>,
    /// What not to fetch with packages (groupId:artifactId), with commas between
    #[arg(long, allow_hyphen_values = true)]
    pub exclude_packages: Option<String>,
    /// Repositories to look for packages in beside Maven Central, with commas between
    #[arg(long, allow_hyphen_values = true)]
    pub repositories: Option<String>,
    /// Python files (.py, .zip, .egg), with commas between
    #[arg(long, allow_hyphen_values = true)]
    pub py_files: Option<String>,
    /// Files for the working directory of each executor, with commas between
    #[arg(long, allow_hyphen_values = true)]
    pub files: Option<String>,
    /// Archives to unpack in the working directory of each executor, with commas between
    #[arg(long, allow_hyphen_values = true)]
    pub archives: Option<String>,
    /// A Spark property; goes before --properties-file. Any number of times
    #[arg(long, short = 'c', value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub conf: Vec<String>,
    /// File of this machine with more Spark properties. No spark-defaults.conf is read
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub properties_file: Option<String>,
    /// Heap of the driver, as in 1000M or 2G
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub driver_memory: Option<String>,
    /// Options of the driver's JVM
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    pub driver_java_options: Option<String>,
    /// Library path of the driver
    #[arg(long, value_name = "PATH", allow_hyphen_values = true)]
    pub driver_library_path: Option<String>,
    /// Class path of the driver
    #[arg(long, value_name = "PATH", allow_hyphen_values = true)]
    pub driver_class_path: Option<String>,
    /// Cores of the driver
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub driver_cores: Option<String>,
    /// Heap of one executor, as in 1000M or 2G
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub executor_memory: Option<String>,
    /// Cores of one executor
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub executor_cores: Option<String>,
    /// Executors to launch
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub num_executors: Option<String>,
    /// Cores of all executors (spark.cores.max), which Kubernetes ignores. Use --num-executors and --executor-cores
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub total_executor_cores: Option<String>,
    /// Refused: a batch's driver is no client of Spark Connect
    #[arg(long, value_name = "URL", allow_hyphen_values = true)]
    pub remote: Option<String>,
    /// Queue of the application (spark.yarn.queue)
    #[arg(long, allow_hyphen_values = true)]
    pub queue: Option<String>,
    /// User whom the driver impersonates
    #[arg(long, value_name = "USER", allow_hyphen_values = true)]
    pub proxy_user: Option<String>,
    /// Refused: no Kerberos login is done for a batch
    #[arg(long, allow_hyphen_values = true)]
    pub principal: Option<String>,
    /// Refused: no Kerberos login is done for a batch
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub keytab: Option<String>,
    /// Passed over, as spark-submit does on Kubernetes
    #[arg(long)]
    pub supervise: bool,
    /// Passed over: no spark-defaults.conf is read
    #[arg(long)]
    pub load_spark_defaults: bool,
    /// Kill the batch of this id or name, and submit nothing
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub kill: Option<String>,
    /// Show the batch of this id or name, and submit nothing
    #[arg(long, value_name = "ID", allow_hyphen_values = true, conflicts_with = "kill")]
    pub status: Option<String>,
    /// Say on standard error what is submitted, without credentials
    #[arg(long, short)]
    pub verbose: bool,
    /// The application (a jar, a .py or an .R file that the driver can read), then its own arguments, whatever they
    /// look like
    #[arg(value_name = "APPLICATION [ARGUMENT]...", trailing_var_arg = true, required_unless_present_any = ["kill", "status"])]
    pub application: Vec<String>,
}

/// What a command line asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Submission {
    /// The batch. Its rules are not checked here.
    pub spec: SparkBatchSpec,
    /// Where spark.kubernetes.namespace wants it.
    pub namespace: Option<String>,
    /// What was passed over, in words for the user.
    pub warnings: Vec<String>,
}

impl SubmitOptions {
    /// The batch that these flags and the properties of their file ask for. A flag goes before `--conf`, and that
    /// before the file.
    ///
    /// # Errors
    /// Every flag that cannot be meant here, with what to write in its place.
    pub fn submission(&self, properties: BTreeMap<String, String>) -> Result<Submission, Vec<String>> {
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        let mut conf = properties;
        for pair in &self.conf {
            match pair.split_once('=') {
                Some((key, value)) => drop(conf.insert(key.to_owned(), value.to_owned())),
                // What has no '=' may be a value, and a credential.
                None => problems.push("--conf: a property has no '='; write --conf key=value".to_owned()),
            }
        }
        let mut conf = canonical(conf, &mut warnings);
        let mut take = |key: &str| conf.remove(key).map(|value| value.trim().to_owned());
        let master = self.master.clone().or(take("spark.master"));
        let mode = self.deploy_mode.clone().or(take("spark.submit.deployMode"));
        let (namespace, service_account_name) = (take("spark.kubernetes.namespace"), take(SERVICE_ACCOUNT));
        place(master.as_deref(), mode.as_deref(), &mut problems, &mut warnings);
        self.refuse(&mut problems);
        self.pass_over(&mut warnings);
        let by_flags = [
            ("spark.driver.extraJavaOptions", &self.driver_java_options),
            ("spark.driver.extraLibraryPath", &self.driver_library_path),
            ("spark.driver.extraClassPath", &self.driver_class_path),
            ("spark.cores.max", &self.total_executor_cores),
        ];
        for (key, value) in by_flags {
            conf.extend(value.clone().map(|value| (key.to_owned(), value)));
        }
        let (file, args) =
            self.application.split_first().map_or_else(Default::default, |(file, args)| (file.clone(), args.to_vec()));
        let mut number = |flag: &str, value: &Option<String>| {
            let value = value.as_ref()?;
            let number = value.trim().parse().ok();
            if number.is_none() {
                problems.push(format!("{flag}: '{value}' is no whole number"));
            }
            number
        };
        let spec = SparkBatchSpec {
            file,
            args,
            class_name: self.class_name.clone(),
            jars: list_over(&mut conf, "spark.jars", self.jars.as_deref()),
            py_files: list_over(&mut conf, "spark.submit.pyFiles", self.py_files.as_deref()),
            files: list_over(&mut conf, "spark.files", self.files.as_deref()),
            archives: list_over(&mut conf, "spark.archives", self.archives.as_deref()),
            packages: list_over(&mut conf, "spark.jars.packages", self.packages.as_deref()),
            repositories: list_over(&mut conf, "spark.jars.repositories", self.repositories.as_deref()),
            exclude_packages: list_over(&mut conf, "spark.jars.excludes", self.exclude_packages.as_deref()),
            driver_memory: self.driver_memory.clone(),
            driver_cores: number("--driver-cores", &self.driver_cores),
            executor_memory: self.executor_memory.clone(),
            executor_cores: number("--executor-cores", &self.executor_cores),
            num_executors: number("--num-executors", &self.num_executors),
            name: self.name.clone(),
            queue: self.queue.clone(),
            proxy_user: self.proxy_user.clone(),
            service_account_name,
            conf,
            ..SparkBatchSpec::default()
        };
        if problems.is_empty() { Ok(Submission { spec, namespace, warnings }) } else { Err(problems) }
    }

    fn refuse(&self, problems: &mut Vec<String>) {
        let refused = [
            (
                self.remote.is_some(),
                "--remote: a batch has a driver of its own, and is no client of Spark Connect; leave it out, or give \
                 the URL to the application as an argument",
            ),
            (
                self.principal.is_some() || self.keytab.is_some(),
                "--principal, --keytab: no Kerberos login is done for a batch; mount a Secret with the keytab by \
                 volumes and driver.volumeMounts of a SparkBatch, and log in from the application",
            ),
        ];
        problems.extend(refused.iter().filter(|(given, _)| *given).map(|(_, problem)| (*problem).to_owned()));
    }

    fn pass_over(&self, warnings: &mut Vec<String>) {
        let passed_over = [
            (
                self.total_executor_cores.is_some(),
                "--total-executor-cores: sets spark.cores.max, which Kubernetes ignores; write --num-executors N and \
                 --executor-cores N, whose product it is",
            ),
            (
                self.supervise,
                "--supervise: is for standalone clusters and passed over; 'retry' of a SparkBatch runs one again that \
                 failed",
            ),
            (
                self.load_spark_defaults,
                "--load-spark-defaults: no spark-defaults.conf is read; name it by --properties-file",
            ),
        ];
        warnings.extend(passed_over.iter().filter(|(given, _)| *given).map(|(_, warning)| (*warning).to_owned()));
    }

    /// What a batch without a name is called by: its class, or its file without folders and ending.
    ///
    /// Spark: `SparkSubmitArguments.loadEnvironmentArguments`.
    #[must_use]
    pub fn called(&self) -> &str {
        let class = self.class_name.as_deref().map(|class| class.rsplit('.').next().unwrap_or(class));
        let file = self.application.first().map_or("", |file| file.split(['?', '#']).next().unwrap_or(file));
        let file = file.rsplit('/').next().unwrap_or(file);
        let file = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        self.name.as_deref().or(class).unwrap_or(file)
    }
}

/// The properties under their present names; others than Spark's are passed over.
///
/// Spark: `SparkSubmitArguments.ignoreNonSparkProperties`.
fn canonical(properties: BTreeMap<String, String>, warnings: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut conf = BTreeMap::new();
    for (key, value) in properties {
        if key.trim().starts_with("spark.") {
            conf.insert(canonical_key(&key).to_owned(), value);
        } else {
            warnings.push(format!("{}: passed over, for it does not begin with 'spark.'", key.trim()));
        }
    }
    conf
}

/// Whether an application for this master can run as a batch.
fn place(master: Option<&str>, mode: Option<&str>, problems: &mut Vec<String>, warnings: &mut Vec<String>) {
    if mode.is_some_and(|mode| mode != "cluster") || master == Some("yarn-client") {
        problems.push(
            "--deploy-mode: a batch's driver runs in the cluster, and not on this machine; write '--deploy-mode \
             cluster', or leave it out"
                .to_owned(),
        );
    }
    match master {
        None => {}
        Some(url) if url.starts_with("k8s://") => {}
        Some(url) if url == "local" || url.starts_with("local[") || url.starts_with("local-cluster[") => {
            problems.push(format!(
                "--master: '{url}' means this machine, on which no batch runs; leave --master out, and say by \
                 --num-executors and --executor-cores how much to run at once"
            ));
        }
        Some(url) if url.starts_with("yarn") || url.starts_with("spark://") || url.starts_with("mesos://") => {
            warnings.push(format!("--master: '{url}' is passed over; the batch runs on Kubernetes"));
        }
        Some(url) => problems.push(format!("--master: '{url}' is no master that is known; leave it out")),
    }
}

/// A flag's list. Where there is one, it takes the place of the property: the resource would join the two.
///
/// Spark: `SparkSubmitArguments.loadEnvironmentArguments`.
fn list_over(conf: &mut BTreeMap<String, String>, key: &str, flag: Option<&str>) -> Vec<String> {
    let Some(flag) = flag else { return Vec::new() };
    conf.remove(key);
    flag.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
#[path = "submit_tests.rs"]
mod tests;
