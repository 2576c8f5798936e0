//! Who is let in: a certificate must be of the cluster's authority, for the right role, and in time.

use std::path::Path;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use vectorsphere::security::peers::certificate_name;
use vectorsphere::security::{Credentials, Peer, Peers};

use crate::support::pki::{Authority, Validity};

/// A folder with a certificate for a role of the cluster `demo` in the namespace `search`.
fn peers(authority: &Authority, role: Peer, trusted: &Authority) -> (Peers, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let name = certificate_name(role, "demo", "search");
    authority.lay(folder.path(), &[&name], &[trusted]);
    (of(folder.path()), folder)
}

fn of(folder: &Path) -> Peers {
    Peers::new(Credentials::load(folder).unwrap(), "demo", "search")
}

/// Whether `client` and a worker that lets gateways and masters in speak with each other.
async fn meet(client: &Peers, expected: Peer, worker: &Peers) -> Result<(), String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = worker.acceptor(&[Peer::Gateway, Peer::Master]);
    let serving = async {
        let (stream, _peer) = listener.accept().await.unwrap();
        let mut connection = acceptor
            .accept(stream)
            .await
            .map_err(|e| format!("server: {e}"))?;
        connection
            .write_all(b"hello")
            .await
            .map_err(|e| e.to_string())?;
        connection.shutdown().await.map_err(|e| e.to_string())
    };
    let asking = async {
        let uri = format!("http://{address}").parse().unwrap();
        let connection = client.connector(expected).connect(&uri).await;
        let mut connection = connection.map_err(|e| format!("client: {e}"))?;
        // Who speaks in plain text is heard at once.
        let spoken = connection.write_all(b"hello, may I come in?").await;
        spoken.map_err(|e| format!("client: {e}"))?;
        let mut heard = Vec::new();
        connection
            .read_to_end(&mut heard)
            .await
            .map_err(|e| format!("client: {e}"))?;
        if heard == b"hello" {
            Ok(())
        } else {
            Err(format!("client heard {heard:?}"))
        }
    };
    match tokio::join!(serving, asking) {
        (Ok(()), Ok(())) => Ok(()),
        (served, asked) => Err(format!("{served:?}, {asked:?}")),
    }
}

#[tokio::test]
async fn only_the_right_role_of_the_right_cluster_is_let_in() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (worker, _folder) = peers(&ours, Peer::Worker, &ours);
    for role in [Peer::Gateway, Peer::Master] {
        let (client, _folder) = peers(&ours, role, &ours);
        assert_eq!(meet(&client, Peer::Worker, &worker).await, Ok(()), "{role}");
    }
    for role in [Peer::Worker, Peer::Operator] {
        let (client, _folder) = peers(&ours, role, &ours);
        let refused = meet(&client, Peer::Worker, &worker).await.unwrap_err();
        assert!(
            refused.contains("not for a role that may connect"),
            "{role}: {refused}"
        );
    }
    let (stranger, _folder) = peers(&theirs, Peer::Gateway, &ours);
    let refused = meet(&stranger, Peer::Worker, &worker).await.unwrap_err();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    let (wary, _folder) = peers(&ours, Peer::Gateway, &theirs);
    let refused = meet(&wary, Peer::Worker, &worker).await.unwrap_err();
    assert!(
        refused.contains("UnknownIssuer") || refused.contains("Unknown"),
        "{refused}"
    );
    let (gateway, _folder) = peers(&ours, Peer::Gateway, &ours);
    let wrong = meet(&gateway, Peer::Master, &worker).await.unwrap_err();
    assert!(
        wrong.contains("not valid for name") || wrong.contains("NotValidForName"),
        "{wrong}"
    );
}

#[tokio::test]
async fn another_cluster_an_old_certificate_and_plain_text_are_refused() {
    let authority = Authority::new("shared by two clusters");
    let (worker, _folder) = peers(&authority, Peer::Worker, &authority);
    let folder = tempfile::tempdir().unwrap();
    let name = certificate_name(Peer::Gateway, "demo", "other");
    authority.lay(folder.path(), &[&name], &[&authority]);
    let refused = meet(&of(folder.path()), Peer::Worker, &worker)
        .await
        .unwrap_err();
    assert!(
        refused.contains("not for a role that may connect"),
        "{refused}"
    );
    let name = certificate_name(Peer::Gateway, "demo", "search");
    let (certificate, key) = authority.issue(&[&name], Validity::Over);
    fs_err::write(folder.path().join("tls.crt"), certificate).unwrap();
    fs_err::write(folder.path().join("tls.key"), key).unwrap();
    let refused = meet(&of(folder.path()), Peer::Worker, &worker)
        .await
        .unwrap_err();
    assert!(refused.to_lowercase().contains("expired"), "{refused}");
    let refused = meet(&Peers::plain(), Peer::Worker, &worker)
        .await
        .unwrap_err();
    assert!(refused.contains("server"), "{refused}");
}

#[tokio::test]
async fn files_that_cannot_be_read_change_nothing() {
    let authority = Authority::new("ours");
    let (worker, folder) = peers(&authority, Peer::Worker, &authority);
    let (gateway, _folder) = peers(&authority, Peer::Gateway, &authority);
    for (file, text) in [
        ("tls.key", "no key"),
        ("ca.crt", ""),
        ("tls.crt", "-----BEGIN"),
    ] {
        let path = folder.path().join(file);
        let before = fs_err::read(&path).unwrap();
        fs_err::write(&path, text).unwrap();
        let error = worker.credentials().refresh().unwrap_err();
        let said = format!("{error:?}");
        assert!(said.contains(file), "{said}");
        assert_eq!(
            meet(&gateway, Peer::Worker, &worker).await,
            Ok(()),
            "{file}"
        );
        fs_err::write(&path, before).unwrap();
    }
    assert!(
        !worker.credentials().refresh().unwrap(),
        "nothing has changed"
    );
}
