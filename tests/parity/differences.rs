//! The deliberate differences from spark-submit, one a line. docs/spark-submit.md tells users of them.

use Side::{Added, Changed, Missing};

/// How a batch's object differs from spark-submit's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Added,
    Missing,
    Changed,
}

/// A difference: of which cases, at which path, and why. `*` stands for any text.
#[derive(Debug)]
pub(crate) struct Difference {
    side: Side,
    case: &'static str,
    path: &'static str,
    #[expect(dead_code, reason = "for who reads the table, and for who reads that a line of it shows nowhere")]
    why: &'static str,
}

const fn all(side: Side, path: &'static str, why: &'static str) -> Difference {
    of("*", side, path, why)
}

const fn of(case: &'static str, side: Side, path: &'static str, why: &'static str) -> Difference {
    Difference { side, case, path, why }
}

pub(crate) const DIFFERENCES: &[Difference] = &[
    // Identity
    all(Changed, "/pod/metadata/name", "a function of the batch's uid and attempt"),
    all(Changed, "/properties/spark.kubernetes.driver.pod.name", "a function of the batch's uid and attempt"),
    all(Added, "/properties/spark.kubernetes.driver.resourceNamePrefix", "names are the operator's"),
    all(Added, "/properties/spark.kubernetes.executor.podNamePrefix", "names are the operator's"),
    all(Missing, "/pod/metadata/uid", "given by the API server"),
    all(Added, "/pod/metadata/namespace", "spark-submit names it in the request only"),
    all(Added, "/pod/metadata/ownerReferences/*", "the pod goes with its batch"),
    all(Added, "/pod/metadata/labels/app.kubernetes.io/managed-by", "the operator finds its pods by them"),
    all(Added, "/pod/metadata/labels/sparkbatch.dev/*", "the operator finds its pods by them"),
    all(Missing, "/pod/metadata/labels/spark-version", "the image's version is not known to the operator"),
    all(Changed, "/properties/spark.app.submitTime", "when the batch was created"),
    all(Changed, "/properties/spark.master", "the driver's API server is that of its cluster"),
    // The Secret in the place of the ConfigMap, and no Service
    all(Missing, "/pod/spec/volumes/spark-conf-volume-driver/configMap/*", "conf holds credentials: a Secret"),
    all(Added, "/pod/spec/volumes/spark-conf-volume-driver/secret/secretName", "conf holds credentials: a Secret"),
    all(Added, "/pod/spec/containers/*/volumeMounts//opt/spark/conf/readOnly", "nothing writes there"),
    all(Missing, "/properties/spark.driver.host", "the pod's own address, in its arguments"),
    all(Added, "/properties/spark.kubernetes.executor.disableConfigMap", "one object less per batch"),
    all(Added, "/properties/spark.kubernetes.executor.enablePollingWithResourceVersion", "the API server's load"),
    all(Added, "/properties/spark.kubernetes.executor.podTemplate*", "executors are shaped by the operator's template"),
    all(Missing, "/Service/*", "the driver's address is its pod's: nothing to resolve, nothing to wait for"),
    all(Changed, "/secret/kind", "conf holds credentials: a Secret"),
    all(Changed, "/secret/metadata/name", "a function of the batch's uid and attempt"),
    all(Missing, "/secret/metadata/uid", "given by the API server"),
    all(Added, "/secret/metadata/labels/*", "the operator finds its objects by them"),
    all(Missing, "/secret/metadata/ownerReferences/*", "the driver's pod: it outlives a driver that is lost"),
    all(Added, "/secret/metadata/ownerReferences/*", "it goes with its batch"),
    all(Missing, "/secret/data/spark.kubernetes.namespace", "read by nothing: the properties hold the namespace"),
    all(Added, "/secret/data/executor-pod-template.yaml", "executors are shaped by the operator's template"),
    // Restricted pods
    all(Added, "/pod/spec/securityContext/*", "Pod Security restricted"),
    all(Added, "/pod/spec/containers/*/securityContext/*", "Pod Security restricted, read-only root file system"),
    all(Added, "/pod/spec/containers/*/volumeMounts//opt/spark/work-dir/*", "the root file system is read-only"),
    all(Added, "/pod/spec/containers/*/volumeMounts//tmp/*", "the root file system is read-only"),
    all(Added, "/pod/spec/volumes/spark-tmp/*", "the root file system is read-only"),
    all(Added, "/properties/spark.jars.ivy", "the home directory is not writable in every image"),
    all(Added, "/pod/spec/automountServiceAccountToken", "said aloud"),
    all(Added, "/pod/spec/enableServiceLinks", "\"argument list too long\" in large namespaces"),
    all(Missing, "/pod/spec/serviceAccount", "deprecated name of serviceAccountName"),
    all(Added, "/pod/spec/terminationGracePeriodSeconds", "a deleted batch is gone within 30 s"),
    all(Added, "/pod/spec/containers/*/terminationMessagePolicy", "the end of the log becomes the batch's message"),
    all(Added, "/properties/spark.ui.killEnabled", "who may see a UI need not be one who may end its jobs"),
    all(Missing, "/pod/spec/containers/*/ports/spark-connect/*", "4.1's, for a server that a batch does not run"),
    of("driver-pod-template", Added, "/pod/spec/initContainers/*/securityContext/*", "Pod Security restricted"),
    // What the batch says itself
    of("driver-pod-template", Missing, "/properties/spark.kubernetes.driver.podTemplate*", "it is the batch's own"),
    of("driver-volume-on-demand", Missing, "/PersistentVolumeClaim/*", "Kubernetes makes the claim of such a volume"),
    of("driver-volume-on-demand", Missing, "/pod/spec/volumes/data/persistentVolumeClaim/*", "an ephemeral volume"),
    of("driver-volume-on-demand", Added, "/pod/spec/volumes/data/ephemeral/*", "an ephemeral volume"),
    // Local directories
    all(Changed, "/pod/spec/containers/*/env/SPARK_LOCAL_DIRS/value", "nothing random in a pod"),
    all(Missing, "/pod/spec/containers/*/volumeMounts//var/data/spark-UUID/*", "nothing random in a pod"),
    all(Added, "/pod/spec/containers/*/volumeMounts//var/data/spark/*", "nothing random in a pod"),
    of("local-directories", Changed, "/pod/spec/containers/*/volumeMounts//scratch/*/name", "numbered in their order"),
    // Properties
    all(Missing, "/properties/spark.kubernetes.submission.waitAppCompletion", "the submitting program's"),
    all(Missing, "/properties/spark.submit.pyFiles", "empty"),
    all(Added, "/properties/spark.driver.memory", "the default, said aloud"),
    of(
        "queue",
        Added,
        "/properties/spark.yarn.queue",
        "spark-submit drops --queue on Kubernetes; schedulers may read it",
    ),
    of("min-memory-overhead", Changed, "/pod/spec/containers/*/resources/*/memory", "3.5 knows no least overhead"),
    // What the batch has typed fields for is in the pod, and in no property
    of("driver-*", Missing, "/properties/spark.kubernetes.driver.annotation.note", "driver.annotations"),
    of("driver-*", Missing, "/properties/spark.kubernetes.driver.label.team", "driver.labels"),
    of("driver-*", Missing, "/properties/spark.kubernetes.driver.secretKeyRef.*", "driver.env"),
    of("driver-*", Missing, "/properties/spark.kubernetes.driver.secrets.*", "volumes and driver.volumeMounts"),
    of("driver-*", Missing, "/properties/spark.kubernetes.driver.volumes.*", "volumes and driver.volumeMounts"),
    of("driver-environment", Missing, "/properties/spark.kubernetes.driverEnv.*", "driver.env"),
    of("driver-gpus", Missing, "/properties/spark.driver.resource.gpu.*", "driver.resources"),
    // Spark writes defaults of the API server
    all(Missing, "/pod/spec/containers/*/volumeMounts//data/readOnly", "false is the default"),
    all(Missing, "/pod/spec/containers/*/volumeMounts//data/subPath*", "empty is the default"),
    of("driver-host-path", Missing, "/pod/spec/volumes/data/hostPath/type", "empty is the default"),
    of("driver-*", Missing, "/pod/spec/volumes/data/persistentVolumeClaim/readOnly", "the mount says so"),
];

/// Whether `difference` speaks of this one.
pub(crate) fn matches(difference: &Difference, case: &str, path: &str, mine: bool, theirs: bool) -> bool {
    let side = match (mine, theirs) {
        (true, false) => Added,
        (false, true) => Missing,
        _ => Changed,
    };
    difference.side == side && is_like(difference.case, case) && is_like(difference.path, path)
}

fn is_like(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let parts: Vec<_> = rest.split('*').collect();
    let Some((last, middle)) = parts.split_last() else { return true };
    for part in middle {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}
