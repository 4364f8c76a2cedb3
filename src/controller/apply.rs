//! The writes of an attempt, in the order that is the guarantee of one driver.
//!
//! 1. The Secret is looked for at the API server, never in a cache: it is the record that the attempt's pod
//!    existed. If it is there and the pod is not, the driver was lost, and is never silently run again.
//! 2. The driver pod is created. It mounts the Secret, so it cannot start yet.
//! 3. The Secret is created, which starts the driver.
//!
//! The creates are sent only while no other replica can lead, and given up before one can: what was found in step 1
//! still holds then (docs/adr/0008).
//!
//! A crash between any two of these leaves a state from which the same steps lead on. Names are functions of
//! the batch's uid and the attempt, so that a repeated create is answered with 409, and the owner's uid tells
//! ours from another's.

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams, PartialObjectMeta, PostParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt as _};

use super::error::{During as _, Error, api_status, ignore_absent};
use super::pods::BatchKey;
use crate::api::{LABEL_ATTEMPT, LABEL_BATCH, LABEL_SPARK_ROLE, ROLE_EXECUTOR};
use crate::lease::Leadership;
use crate::observe::{DriverFacts, driver_facts};
use crate::plan::PodSet;

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
    leadership: &'a Leadership,
    namespace: &'a str,
}

impl<'a> Objects<'a> {
    pub(super) fn of(client: &Client, leadership: &'a Leadership, namespace: &'a str) -> Self {
        let (pods, secrets) = (Api::namespaced(client.clone(), namespace), Api::namespaced(client.clone(), namespace));
        Self { pods, secrets, leadership, namespace }
    }

    /// Starts the driver of `set` for the batch with `owner`, or finds the one that was started.
    pub(super) async fn start(&self, set: &PodSet, owner: &str) -> Result<Started, Error> {
        let (pod_name, secret_name) = (set.driver.name_any(), set.secret.name_any());
        if let Some(secret) = self.secret(&secret_name).await? {
            if !is_owned_by(&secret, owner) {
                return Ok(Started::NotOurs(format!("Secret '{secret_name}'")));
            }
            return self.driver(&pod_name, owner).await;
        }
        let driver = match self.create_or_adopt_pod(&set.driver, owner).await? {
            Started::Driver(driver) => driver,
            other => return Ok(other),
        };
        Ok(match self.create_secret(&set.secret, owner).await? {
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

    async fn secret(&self, name: &str) -> Result<Option<PartialObjectMeta<Secret>>, Error> {
        self.secrets.get_metadata_opt(name).await.during("look for the driver's Secret")
    }

    async fn create_or_adopt_pod(&self, pod: &Pod, owner: &str) -> Result<Started, Error> {
        match self.fenced(self.pods.create(&PostParams::default(), pod)).await? {
            Ok(pod) => Ok(Started::Driver(Box::new(driver_facts(&pod)))),
            Err(error) if is_taken(&error) => match self.driver(&pod.name_any(), owner).await? {
                Started::Lost => Err(Error::Changed(format!("pod '{}'", pod.name_any()))),
                found => Ok(found),
            },
            Err(error) => {
                refusal(&error).map(Started::Refused).map_or_else(|| Err(error).during("create the driver pod"), Ok)
            }
        }
    }

    /// `None` if the Secret exists now and is ours.
    async fn create_secret(&self, secret: &Secret, owner: &str) -> Result<Option<Started>, Error> {
        let name = secret.name_any();
        match self.fenced(self.secrets.create(&PostParams::default(), secret)).await? {
            Ok(_) => Ok(None),
            Err(error) if is_taken(&error) => match self.secret(&name).await? {
                Some(found) if is_owned_by(&found, owner) => Ok(None),
                Some(_) => Ok(Some(Started::NotOurs(format!("Secret '{name}'")))),
                None => Err(Error::Changed(format!("Secret '{name}'"))),
            },
            Err(error) => {
                let refused = refusal(&error).map(|refusal| Some(Started::Refused(refusal)));
                refused.map_or_else(|| Err(error).during("create the driver's Secret"), Ok)
            }
        }
    }

    /// Sends a create if no other replica can lead by now, and gives it up before one can.
    async fn fenced<T>(&self, create: impl Future<Output = T>) -> Result<T, Error> {
        let left = self.leadership.time_left(self.namespace).ok_or(Error::NotLeading)?;
        tokio::time::timeout(left, create).await.map_err(|_| Error::Timeout(left.as_secs()))
    }

    /// Deletes the driver pod, if it is still the one with this uid.
    pub(super) async fn delete_driver(&self, name: &str, uid: &str) -> Result<(), Error> {
        ignore_absent(self.pods.delete(name, &only_of(uid)).await).during("delete the driver pod")
    }

    /// Deletes the Secret of an attempt that is over.
    pub(super) async fn delete_secret(&self, name: &str) -> Result<(), Error> {
        ignore_absent(self.secrets.delete(name, &DeleteParams::background()).await).during("delete the driver's Secret")
    }

    /// Deletes what executors a driver has left behind: Kubernetes only does so when the driver's pod goes.
    /// Those of one attempt, or of all.
    pub(super) async fn delete_executors(&self, batch: &BatchKey, attempt: Option<i32>) -> Result<(), Error> {
        let of_attempt = attempt.map(|attempt| format!(",{LABEL_ATTEMPT}={attempt}")).unwrap_or_default();
        let selector = format!("{LABEL_BATCH}={},{LABEL_SPARK_ROLE}={ROLE_EXECUTOR}{of_attempt}", batch.1);
        let params = ListParams::default().labels(&selector);
        let deleted = self.pods.delete_collection(&DeleteParams::background(), &params).await;
        deleted.map(|_| ()).during("delete the executors")
    }
}

/// A deletion in the background of nothing but the object with this uid.
pub(super) fn only_of(uid: &str) -> DeleteParams {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() };
    DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() }
}

fn is_owned_by(object: &impl Resource, uid: &str) -> bool {
    object.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

fn is_taken(error: &kube::Error) -> bool {
    api_status(error).is_some_and(kube::core::response::Status::is_already_exists)
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
