//! The writes of an attempt, in the order that is the guarantee of one driver.
//!
//! 1. The Secret is looked for at the API server, never in a cache: it is the record that the attempt's pod
//!    existed. If it is there and the pod is not, the driver was lost, and is never silently run again.
//! 2. If it is not there, the batch is looked at, after that: it has to be there, and to be what the look decided by.
//!    So the Secret never was, for nothing has taken it along.
//! 3. The driver pod is created. It mounts the Secret, so it cannot start yet.
//! 4. The Secret is created, which starts the driver.
//!
//! Where Volcano schedules, its `PodGroup` is created before the pod, which would get one of its own otherwise. It runs
//! nothing and is the record of nothing: one that a crash has left is found by its name, one that went is made again.
//!
//! The creates are sent only while no other replica can lead, and given up before one can: what was found in steps 1
//! and 2 still holds then, but that the batch may be deleted (docs/adr/0001, 0008). What is not answered is given time to
//! land before the look ends, so that the next one finds it.
//!
//! A crash between any two of these leaves a state from which the same steps lead on. Names are functions of
//! the batch's uid and the attempt, so that a repeated create is answered with 409, and the owner's uid tells
//! ours from another's.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams, PartialObjectMeta, PostParams};
use kube::core::DynamicObject;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{During as _, Error, api_status, ignore_absent};
use crate::api::calls::only_of;
use crate::api::{LABEL_SPARK_APP_SELECTOR, LABEL_SPARK_ROLE, ROLE_EXECUTOR, SparkBatch};
use crate::lease::Leadership;
use crate::observe::{DriverFacts, driver_facts};
use crate::plan::{PodSet, pod_group_resource};

/// How long the API server may take to end what its client has heard nothing of.
const UNANSWERED: Duration = Duration::from_secs(2);

/// What became of an attempt to start a driver.
pub(super) enum Started {
    /// The driver pod and its Secret exist.
    Driver(Box<DriverFacts>),
    /// The attempt's driver pod existed, and is gone.
    Lost,
    /// An object of the name is another's.
    NotOurs(String),
    /// The API server refuses the pod or the Secret.
    Refused(Refusal),
}

/// The API server's word against an object.
pub(super) struct Refusal {
    /// Whether trying again cannot help: the object itself is wrong.
    pub(super) permanent: bool,
    /// Its message.
    pub(super) message: String,
}

/// The API objects of one namespace.
pub(super) struct Objects<'a> {
    pods: Api<Pod>,
    secrets: Api<Secret>,
    pod_groups: Api<DynamicObject>,
    batches: Api<SparkBatch>,
    leadership: &'a Leadership,
    namespace: &'a str,
}

impl<'a> Objects<'a> {
    pub(super) fn of(client: &Client, leadership: &'a Leadership, namespace: &'a str) -> Self {
        let (pods, secrets) = (Api::namespaced(client.clone(), namespace), Api::namespaced(client.clone(), namespace));
        let pod_groups = Api::namespaced_with(client.clone(), namespace, &pod_group_resource());
        let batches = Api::namespaced(client.clone(), namespace);
        Self { pods, secrets, pod_groups, batches, leadership, namespace }
    }

    /// Starts the driver of `set` for the `batch` that the cache has, or finds the one that was started.
    pub(super) async fn start(&self, set: &PodSet, batch: &SparkBatch) -> Result<Started, Error> {
        let (pod_name, secret_name) = (set.driver.name_any(), set.secret.name_any());
        let owner = batch.metadata.uid.as_deref().unwrap_or_default();
        if let Some(secret) = self.secret(&secret_name).await? {
            if !is_owned_by(&secret, owner) {
                return Ok(Started::NotOurs(format!("Secret '{secret_name}'")));
            }
            return self.driver(&pod_name, owner).await;
        }
        self.is_current(batch).await?;
        if let Some(group) = &set.pod_group {
            let created = self.create_owned(&self.pod_groups, group, "PodGroup", owner).await?;
            if let Some(refused) = created {
                return Ok(without_volcano(refused));
            }
        }
        let driver = match self.create_or_adopt_pod(&set.driver, owner).await? {
            Started::Driver(driver) => driver,
            other => return Ok(other),
        };
        Ok(match self.create_owned(&self.secrets, &set.secret, "Secret", owner).await? {
            None => Started::Driver(driver),
            Some(refused) => {
                // Without its Secret the pod cannot start; with another's it must not.
                self.delete_driver(&driver.pod_name, &driver.pod_uid).await?;
                refused
            }
        })
    }

    /// The driver pod as the API server has it; `Lost` if it has none.
    pub(super) async fn driver(&self, name: &str, owner: &str) -> Result<Started, Error> {
        let pod = self.pods.get_opt(name).await.during("read the driver pod")?;
        Ok(match pod.map(|pod| driver_facts(&pod)) {
            Some(driver) if driver.owner_uid.as_deref() == Some(owner) => Started::Driver(Box::new(driver)),
            Some(_) => Started::NotOurs(format!("pod '{name}'")),
            None => Started::Lost,
        })
    }

    /// Whether the attempt whose Secret this is was ever started.
    pub(super) async fn was_started(&self, secret_name: &str, owner: &str) -> Result<bool, Error> {
        Ok(self.secret(secret_name).await?.is_some_and(|secret| is_owned_by(&secret, owner)))
    }

    /// That the `batch` of a cache is what the API server has of it, but for labels and annotations: those of others
    /// may change all the time. Where it is not, the watch tells of it soon.
    ///
    /// RBAC needed: `sparkbatches` get.
    async fn is_current(&self, batch: &SparkBatch) -> Result<(), Error> {
        let essence = |batch: &SparkBatch| {
            let metadata = &batch.metadata;
            (metadata.uid.clone(), metadata.deletion_timestamp.clone(), metadata.generation, batch.status.clone())
        };
        let name = batch.name_any();
        let found = self.batches.get_opt(&name).await.during("look whether the batch is as before")?;
        let is_same = found.is_some_and(|found| essence(&found) == essence(batch));
        if is_same { Ok(()) } else { Err(Error::Changed(format!("batch '{name}'"))) }
    }

    async fn secret(&self, name: &str) -> Result<Option<PartialObjectMeta<Secret>>, Error> {
        self.secrets.get_metadata_opt(name).await.during("look for the driver's Secret")
    }

    async fn create_or_adopt_pod(&self, pod: &Pod, owner: &str) -> Result<Started, Error> {
        match self.fenced(self.pods.create(&PostParams::default(), pod)).await? {
            Ok(pod) => Ok(Started::Driver(Box::new(driver_facts(&pod)))),
            Err(error) if is_taken(&error) => match self.driver(&pod.name_any(), owner).await? {
                Started::Lost => Err(Error::Changed(format!("pod '{}'", pod.name_any()))),
                // Its Secret was refused. It never ran, and is no driver that could be lost.
                Started::Driver(driver) if driver.deleted => Ok(still_goes(&driver.pod_name)),
                found => Ok(found),
            },
            Err(error) => {
                refusal(&error).map(Started::Refused).map_or_else(|| Err(error).during("create the driver pod"), Ok)
            }
        }
    }

    /// Creates an object of the attempt beside its pod; `None` if it exists now and is ours.
    async fn create_owned<K>(&self, api: &Api<K>, object: &K, kind: &str, owner: &str) -> Result<Option<Started>, Error>
    where
        K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
    {
        let name = object.name_any();
        match self.fenced(api.create(&PostParams::default(), object)).await? {
            Ok(_) => Ok(None),
            Err(error) if is_taken(&error) => {
                match api.get_metadata_opt(&name).await.during("look for an object of the attempt")? {
                    Some(found) if is_owned_by(&found, owner) => Ok(None),
                    Some(_) => Ok(Some(Started::NotOurs(format!("{kind} '{name}'")))),
                    None => Err(Error::Changed(format!("{kind} '{name}'"))),
                }
            }
            Err(error) => {
                let refused = refusal(&error).map(|refusal| Some(Started::Refused(refusal)));
                refused.map_or_else(|| Err(error).during("create an object of the attempt"), Ok)
            }
        }
    }

    /// Sends a create if no other replica can lead by now, and gives it up before one can. One that is not answered has
    /// landed, or never will, by the time that this returns.
    async fn fenced<T>(
        &self,
        create: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<Result<T, kube::Error>, Error> {
        let left = self.leadership.time_left(self.namespace).ok_or(Error::NotLeading)?;
        let created = tokio::time::timeout(left, create).await.map_err(|_| Error::Timeout(left.as_secs()))?;
        if created.as_ref().is_err_and(is_unanswered) {
            tokio::time::sleep(UNANSWERED).await;
        }
        Ok(created)
    }

    /// Deletes the driver pod, if it is still the one with this uid.
    pub(super) async fn delete_driver(&self, name: &str, uid: &str) -> Result<(), Error> {
        ignore_absent(self.pods.delete(name, &only_of(uid)).await).during("delete the driver pod")
    }

    /// Deletes the Secret of an attempt that is over, if it is the batch's.
    pub(super) async fn delete_secret(&self, name: &str, owner: &str) -> Result<(), Error> {
        delete_owned(&self.secrets, name, owner).await.during("delete the driver's Secret")
    }

    /// Deletes the `PodGroup` of an attempt, if it is the batch's: in Volcano's queue it holds the place of pods to come.
    pub(super) async fn delete_pod_group(&self, name: &str, owner: &str) -> Result<(), Error> {
        delete_owned(&self.pod_groups, name, owner).await.during("delete the PodGroup")
    }

    /// Deletes what executors the drivers of these applications have left behind: Kubernetes only does so when the
    /// driver's pod goes. A batch of the same name that came since has other applications.
    pub(super) async fn delete_executors(&self, app_ids: &[String]) -> Result<(), Error> {
        let selector =
            format!("{LABEL_SPARK_ROLE}={ROLE_EXECUTOR},{LABEL_SPARK_APP_SELECTOR} in ({})", app_ids.join(","));
        let params = ListParams::default().labels(&selector);
        let deleted = self.pods.delete_collection(&DeleteParams::background(), &params).await;
        deleted.map(|_| ()).during("delete the executors")
    }
}

/// Deletes the object of the name, if it is the batch's with the uid `owner`, and no other that takes its place.
async fn delete_owned<K>(api: &Api<K>, name: &str, owner: &str) -> Result<(), kube::Error>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    let found = api.get_metadata_opt(name).await?;
    match found.filter(|object| is_owned_by(object, owner)).and_then(|object| object.uid()) {
        Some(uid) => ignore_absent(api.delete(name, &only_of(&uid)).await),
        None => Ok(()),
    }
}

fn is_owned_by(object: &impl Resource, uid: &str) -> bool {
    object.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// Whether what was asked may have been done, or may be done yet, for all that is known.
fn is_unanswered(error: &kube::Error) -> bool {
    api_status(error).is_none_or(|status| status.code >= 500)
}

fn is_taken(error: &kube::Error) -> bool {
    api_status(error).is_some_and(kube::core::response::Status::is_already_exists)
}

/// The refusal of a `PodGroup`, with what to do where its kind is not there.
fn without_volcano(started: Started) -> Started {
    match started {
        Started::Refused(Refusal { permanent: false, message }) => {
            let message = format!("PodGroup: {message}; is Volcano installed, and may the operator create podgroups?");
            Started::Refused(Refusal { permanent: false, message })
        }
        other => other,
    }
}

/// The refusal of a driver whose pod of before is not gone yet.
fn still_goes(pod_name: &str) -> Started {
    let message = format!("pod '{pod_name}', which was to be this driver, has not been deleted yet");
    Started::Refused(Refusal { permanent: false, message })
}

/// The API server's refusal of an object, told from its being busy or out of reach.
fn refusal(error: &kube::Error) -> Option<Refusal> {
    let status = api_status(error)?;
    let permanent = match status.code {
        400 | 413 | 422 => true,
        // A quota, Pod Security, a webhook, a missing service account, a namespace on its way out.
        403 | 404 => false,
        _ => return None,
    };
    Some(Refusal { permanent, message: status.message.chars().take(1024).collect() })
}
