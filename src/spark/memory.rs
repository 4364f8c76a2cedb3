//! The memory that the pods of drivers and executors ask for.

use thiserror::Error;

use super::{Language, SparkConf};
use crate::api::jvm_size::{JvmSizeError, parse_mib};

/// Heap where none is configured, in MiB. Spark: `spark.driver.memory`.
const DEFAULT_HEAP_MIB: u64 = 1024;
/// Least overhead, in MiB. Spark: `ResourceProfile.MEMORY_OVERHEAD_MIN_MIB`, `spark.driver.minMemoryOverhead`.
const MIN_OVERHEAD_MIB: u64 = 384;

/// The memory of a driver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PodMemory {
    /// Heap of the JVM, in MiB.
    pub heap_mib: u64,
    /// What the container asks for and is limited to, in MiB: heap and overhead.
    pub total_mib: u64,
    /// The factor that executors fall back to (`spark.kubernetes.memoryOverheadFactor`).
    pub overhead_factor: f64,
}

/// A memory key of conf that cannot be read.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{key}: {problem}")]
pub struct MemoryError {
    /// The conf key.
    pub key: &'static str,
    /// What is wrong with its value.
    pub problem: String,
}

/// What a driver in `language` with `conf` needs.
///
/// Spark: `BasicDriverFeatureStep`.
pub fn driver_memory(conf: &SparkConf, language: Language) -> Result<PodMemory, MemoryError> {
    let heap_mib = size(conf, "spark.driver.memory")?.unwrap_or(DEFAULT_HEAP_MIB);
    let overhead_factor =
        factor(conf, "spark.kubernetes.memoryOverheadFactor")?.unwrap_or(language.default_overhead_factor());
    let driver_factor = factor(conf, "spark.driver.memoryOverheadFactor")?.unwrap_or(overhead_factor);
    let least = size(conf, "spark.driver.minMemoryOverhead")?.unwrap_or(MIN_OVERHEAD_MIB);
    let overhead =
        size(conf, "spark.driver.memoryOverhead")?.unwrap_or_else(|| share(heap_mib, driver_factor).max(least));
    Ok(PodMemory { heap_mib, total_mib: heap_mib.saturating_add(overhead), overhead_factor })
}

/// What the pod of an executor asks for, in MiB.
///
/// Spark: `ResourceProfile.getResourcesForClusterManager`, `BasicExecutorFeatureStep`.
pub fn executor_memory_mib(conf: &SparkConf, language: Language) -> Result<u64, MemoryError> {
    let heap = size(conf, "spark.executor.memory")?.unwrap_or(DEFAULT_HEAP_MIB);
    let fallback = factor(conf, "spark.kubernetes.memoryOverheadFactor")?.unwrap_or(language.default_overhead_factor());
    let factor = factor(conf, "spark.executor.memoryOverheadFactor")?.unwrap_or(fallback);
    let least = size(conf, "spark.executor.minMemoryOverhead")?.unwrap_or(MIN_OVERHEAD_MIB);
    let overhead = size(conf, "spark.executor.memoryOverhead")?.unwrap_or_else(|| share(heap, factor).max(least));
    let is_python = language == Language::Python;
    let python = if is_python { size(conf, "spark.executor.pyspark.memory")?.unwrap_or(0) } else { 0 };
    Ok([overhead, python, off_heap_mib(conf)?].into_iter().fold(heap, u64::saturating_add))
}

/// Spark: `spark.memory.offHeap.size`, in bytes where it has no unit.
fn off_heap_mib(conf: &SparkConf) -> Result<u64, MemoryError> {
    const SIZE: &str = "spark.memory.offHeap.size";
    if conf.get("spark.memory.offHeap.enabled") != Some("true") {
        return Ok(0);
    }
    match conf.get(SIZE).map(str::parse::<u64>) {
        Some(Ok(bytes)) => Ok(bytes >> 20),
        _ => Ok(size(conf, SIZE)?.unwrap_or(0)),
    }
}

/// `(factor * heap).toInt`, as Spark has it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a heap is far below 2^52 MiB and a factor is never negative"
)]
fn share(heap_mib: u64, factor: f64) -> u64 {
    (heap_mib as f64 * factor) as u64
}

fn size(conf: &SparkConf, key: &'static str) -> Result<Option<u64>, MemoryError> {
    conf.get(key)
        .map(parse_mib)
        .transpose()
        .map_err(|error: JvmSizeError| MemoryError { key, problem: error.to_string() })
}

fn factor(conf: &SparkConf, key: &'static str) -> Result<Option<f64>, MemoryError> {
    let Some(text) = conf.get(key) else { return Ok(None) };
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && (0.0..=100.0).contains(&factor) => Ok(Some(factor)),
        _ => Err(MemoryError { key, problem: "is no number from 0 to 100, such as 0.4".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::spark::Origin;

    fn total(language: Language, pairs: &[(&str, &str)]) -> u64 {
        let mut conf = SparkConf::default();
        for (key, value) in pairs {
            conf.set(key, *value, Origin::Conf);
        }
        driver_memory(&conf, language).unwrap().total_mib
    }

    /// The first three were recorded from a real spark-submit.
    #[rstest]
    #[case(Language::Java, &[], 1408)]
    #[case(Language::Python, &[("spark.driver.memory", "2g")], 2867)]
    #[case(Language::Python, &[], 1433)]
    #[case(Language::Java, &[("spark.driver.memory", "10g")], 11_264)]
    #[case(Language::Java, &[("spark.driver.memoryOverhead", "100m")], 1124)]
    #[case(Language::Java, &[("spark.driver.memoryOverhead", "100")], 1124)]
    #[case(Language::Python, &[("spark.kubernetes.memoryOverheadFactor", "0.5")], 1536)]
    #[case(Language::Python, &[("spark.kubernetes.memoryOverheadFactor", "0.5"), ("spark.driver.memoryOverheadFactor", "1")], 2048)]
    #[case(Language::Java, &[("spark.driver.minMemoryOverhead", "1g")], 2048)]
    fn a_pod_asks_for_what_spark_submit_would(
        #[case] language: Language,
        #[case] conf: &[(&str, &str)],
        #[case] mib: u64,
    ) {
        assert_eq!(total(language, conf), mib);
    }

    #[rstest]
    #[case(Language::Java, &[], 1408)]
    #[case(Language::Python, &[("spark.executor.memory", "2g")], 2867)]
    #[case(Language::Python, &[("spark.executor.pyspark.memory", "1g")], 2457)]
    #[case(Language::Java, &[("spark.executor.pyspark.memory", "1g")], 1408)]
    #[case(Language::Java, &[("spark.executor.memoryOverhead", "100m"), ("spark.executor.memory", "1g")], 1124)]
    #[case(Language::Java, &[("spark.kubernetes.memoryOverheadFactor", "1"), ("spark.executor.memoryOverheadFactor", "0.5")], 1536)]
    #[case(Language::Java, &[("spark.memory.offHeap.enabled", "true"), ("spark.memory.offHeap.size", "104857600")], 1508)]
    #[case(Language::Java, &[("spark.memory.offHeap.enabled", "true"), ("spark.memory.offHeap.size", "100m")], 1508)]
    #[case(Language::Java, &[("spark.memory.offHeap.size", "100m")], 1408)]
    fn an_executor_asks_for_what_spark_would(
        #[case] language: Language,
        #[case] pairs: &[(&str, &str)],
        #[case] mib: u64,
    ) {
        let mut conf = SparkConf::default();
        for (key, value) in pairs {
            conf.set(key, *value, Origin::Conf);
        }
        assert_eq!(executor_memory_mib(&conf, language), Ok(mib));
    }

    #[test]
    fn an_unreadable_size_names_its_key() {
        let mut conf = SparkConf::default();
        conf.set("spark.driver.memoryOverhead", "lots", Origin::Conf);
        assert_eq!(driver_memory(&conf, Language::Java).unwrap_err().key, "spark.driver.memoryOverhead");
    }

    proptest! {
        #[test]
        fn more_heap_never_asks_for_less(mib in 1u64..1 << 24) {
            let of = |mib: u64| total(Language::Python, &[("spark.driver.memory", &format!("{mib}m"))]);
            prop_assert!(of(mib) > mib && of(mib + 1) > of(mib));
        }
    }
}
