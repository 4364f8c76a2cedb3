//! What Spark expects: names, properties and memory arithmetic, without spark-submit.
//!
//! Pure. Each function names the part of Spark that it stands for.

mod application;
mod conf;
mod memory;
mod names;
mod properties;
mod submit;

pub use application::{Language, escape_arg, in_image, with_manifest};
pub use conf::{Origin, SparkConf};
pub use memory::{MemoryError, PodMemory, driver_memory, executor_memory_mib};
pub use names::{AttemptNames, app_id, app_name_label};
pub use properties::{parse_properties, to_properties};
pub use submit::{Submission, SubmitOptions};
