//! The Spark UI of a batch on a port of this machine, by the API server's port-forward.
//!
//! # RBAC needed
//! `sparkbatches`: `get`; `pods/portforward`: `get` and `create`.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Error, ResourceExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{ClientError, LOOK_EVERY, MAX_FAILED_LOOKS};
use crate::api::{Phase, SparkBatch};

/// Connections that are passed on at once; those beyond wait. A browser opens six.
const MAX_CONNECTIONS: usize = 64;

/// The port of a driver that serves its Spark UI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DriverUi {
    pod: String,
    port: u16,
}

impl DriverUi {
    /// Of a batch whose driver runs, and has one.
    pub(super) fn of(batch: &SparkBatch) -> Option<Self> {
        let driver = batch.status.as_ref()?.driver.as_ref()?;
        let (_, port) = driver.ui_address.as_deref()?.rsplit_once(':')?;
        Some(Self { pod: driver.pod_name.clone(), port: port.parse().ok()? })
    }

    /// Whether it can be reached: a missing right is then told at once, and not to a browser.
    pub(super) async fn reach(&self, pods: &Api<Pod>) -> Result<(), Error> {
        pods.portforward(&self.pod, &[self.port]).await.map(|forwarder| forwarder.abort())
    }
}

/// A port of this machine that leads to a batch's Spark UI. Nobody from another machine reaches it.
pub struct UiForward {
    listener: TcpListener,
    batches: Api<SparkBatch>,
    pods: Api<Pod>,
    name: String,
    uid: Option<String>,
    ui: DriverUi,
}

impl UiForward {
    /// Listens on `port`, 0 for a free one.
    pub(super) async fn listen(
        batches: Api<SparkBatch>,
        pods: Api<Pod>,
        batch: &SparkBatch,
        ui: DriverUi,
        port: u16,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        Ok(Self { listener, batches, pods, name: batch.name_any(), uid: batch.uid(), ui })
    }

    /// What to open in a browser.
    ///
    /// # Errors
    /// That the port cannot be told.
    pub fn url(&self) -> Result<String, ClientError> {
        Ok(format!("http://{}/", self.listener.local_addr()?))
    }

    /// Passes connections on until the batch has ended: how, or `None` if it was deleted. A retry's new driver is
    /// followed.
    ///
    /// # Errors
    /// Why the batch cannot be looked at any more, or no connection be taken.
    pub async fn serve(self) -> Result<Option<Phase>, ClientError> {
        let (ui, current) = watch::channel(Some(self.ui.clone()));
        tokio::select! {
            ended = self.ended(&ui) => ended,
            failed = self.pass_on(&current) => Err(failed.into()),
        }
    }

    async fn ended(&self, ui: &watch::Sender<Option<DriverUi>>) -> Result<Option<Phase>, ClientError> {
        let mut failures = 0;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match self.batches.get_opt(&self.name).await {
                Ok(batch) => {
                    failures = 0;
                    let Some(batch) = batch.filter(|batch| batch.uid() == self.uid) else { return Ok(None) };
                    if batch.phase().is_final() {
                        return Ok(Some(batch.phase()));
                    }
                    ui.send_replace(DriverUi::of(&batch));
                }
                Err(_) if failures < MAX_FAILED_LOOKS => failures += 1,
                Err(error) => return Err(ClientError::Unavailable(error.to_string())),
            }
        }
    }

    /// Ends only if no connection can be taken any more.
    async fn pass_on(&self, ui: &watch::Receiver<Option<DriverUi>>) -> std::io::Error {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                    let socket = match accepted {
                        Ok((socket, _)) => socket,
                        Err(error) => return error,
                    };
                    let ui = ui.borrow().clone();
                    connections.extend(ui.map(|ui| pass(self.pods.clone(), ui, socket)));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// Passes one connection on until either side ends it. What goes wrong ends the connection, which a browser tells.
async fn pass(pods: Api<Pod>, ui: DriverUi, mut socket: TcpStream) {
    let Ok(mut forwarder) = pods.portforward(&ui.pod, &[ui.port]).await else { return };
    if let Some(mut stream) = forwarder.take_stream(ui.port) {
        let _ = tokio::io::copy_bidirectional(&mut socket, &mut stream).await;
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(json!({ "podName": "p", "podUid": "u", "uiAddress": "10.0.0.1:4041" }), Some(4041))]
    #[case(json!({ "podName": "p", "podUid": "u", "uiAddress": "[fd00::1]:4040" }), Some(4040))]
    #[case(json!({ "podName": "p", "podUid": "u", "uiAddress": "10.0.0.1:http" }), None)]
    #[case(json!({ "podName": "p", "podUid": "u" }), None)]
    fn the_port_is_that_of_the_address(#[case] driver: serde_json::Value, #[case] port: Option<u16>) {
        let batch = json!({ "apiVersion": "sparkbatch.dev/v1alpha1", "kind": "SparkBatch", "metadata": {},
            "spec": { "file": "/a.py" }, "status": { "phase": "Running", "driver": driver } });
        let ui = DriverUi::of(&serde_json::from_value(batch).unwrap());
        assert_eq!(ui, port.map(|port| DriverUi { pod: "p".into(), port }));
    }
}
