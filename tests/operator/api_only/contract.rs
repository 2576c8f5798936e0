//! The cases that the double of `tests/it/operator` is held to, on a real API server.

#[path = "../../it/operator/contract/cases.rs"]
mod shared;

use std::path::PathBuf;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::kubernetes::Kubernetes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_answers_as_the_contract_says() {
    if Kubernetes::of_this_run().is_none() {
        return;
    }
    let path = std::env::var_os("VECTORSPHERE_TEST_KUBECONFIG").unwrap();
    let kubeconfig = Kubeconfig::read_from(PathBuf::from(path)).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let server = shared::Server {
        client: Client::try_from(config).unwrap(),
        namespace: format!("contract-{unique}"),
    };
    let cases = shared::run(&server).await;
    eprintln!("{cases} cases");
}
