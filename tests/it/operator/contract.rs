//! The double answers as an API server does: the cases that also run on a real one.

#[path = "contract/cases.rs"]
mod shared;

use kube::{Client, Config};

use super::double::Double;
use super::double::controllers::Nodes;
use super::scene::server_with;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_double_answers_as_a_real_server() {
    let double = Double::with_nodes(&server_with(&[]), Nodes::None);
    let url = double.open_door("contract").await;
    let config = Config::new(url.parse().unwrap());
    let server = shared::Server {
        client: Client::try_from(config).unwrap(),
        namespace: "contract".to_owned(),
    };
    let cases = shared::run(&server).await;
    // What it was knowingly given less of stands in the double's own page.
    assert!(cases >= 100, "{cases} cases");
    eprintln!("{cases} cases, every answer as a real server gives it");
}
