//! A way from this machine into the network of a cluster: `kubectl port-forward`, run as a child.
//!
//! The child is given the same kubeconfig, context and namespace, and ends with the [`Tunnel`].

use std::process::Stdio;
use std::time::Duration;

use kube::ResourceExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::Error;
use super::look::{Access, Connection};
use crate::crd::v1alpha1::{ClientAuthentication, TlsMode, VectorCluster};

/// The port of gateways.
const HTTP_PORT: u16 = 6333;
/// How long it may take until the way is open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of what the child complains about that are passed on.
const COMPLAINT_BYTES_MAX: u64 = 4_096;

/// An open way; it closes with this.
#[derive(Debug)]
pub struct Tunnel {
    child: Child,
    /// It says something for each connection, and would wait if nobody read that.
    lines: Lines<BufReader<ChildStdout>>,
    port: u16,
}

impl Tunnel {
    /// A way to a gateway of the cluster. Port 0: one that is free.
    ///
    /// # Errors
    /// [`Error::NoKubectl`], or [`Error::Tunnel`] with what `kubectl` says.
    pub async fn to_gateway(access: &Access, cluster: &str, port: u16) -> Result<Self, Error> {
        let target = format!("service/{}", gateway_service(cluster));
        Self::open(access, &target, (port, HTTP_PORT)).await
    }

    /// A way to a port of a pod or Service, from a port here.
    pub(super) async fn open(
        access: &Access,
        target: &str,
        (here, there): (u16, u16),
    ) -> Result<Self, Error> {
        let arguments = arguments(&access.connection, &access.namespace, target, (here, there));
        let mut child = Command::new("kubectl")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::NoKubectl)?;
        let Some(output) = child.stdout.take() else {
            return Err(Error::Tunnel("it has no output".to_owned()));
        };
        let mut lines = BufReader::new(output).lines();
        let first = tokio::time::timeout(OPEN_TIMEOUT, lines.next_line()).await;
        let said = match first {
            Ok(line) => line?.unwrap_or_default(),
            Err(_elapsed) => {
                let why = format!("{target} is not reached within {OPEN_TIMEOUT:?}");
                return Err(Error::Tunnel(why));
            },
        };
        match port_of(&said) {
            Some(port) => Ok(Self { child, lines, port }),
            None => Err(Error::Tunnel(complaint(&mut child, &said).await)),
        }
    }

    /// The port of this machine.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Waits until it ends by itself, which it does when the pod behind it is gone.
    ///
    /// # Errors
    /// [`Error::Tunnel`] with what it says.
    pub async fn ended(&mut self) -> Result<(), Error> {
        while let Some(_a_connection) = self.lines.next_line().await? {}
        Err(Error::Tunnel(
            complaint(&mut self.child, "it has ended").await,
        ))
    }
}

/// What a child says that is ending, or this.
async fn complaint(child: &mut Child, else_this: &str) -> String {
    let mut text = String::new();
    if let Some(errors) = child.stderr.take() {
        let read = async {
            errors
                .take(COMPLAINT_BYTES_MAX)
                .read_to_string(&mut text)
                .await
        };
        // What it said until then is what there is.
        drop(tokio::time::timeout(Duration::from_secs(1), read).await);
    }
    let text = text.trim();
    if text.is_empty() {
        else_this.to_owned()
    } else {
        text.to_owned()
    }
}

fn arguments(
    connection: &Connection,
    namespace: &str,
    target: &str,
    (here, there): (u16, u16),
) -> Vec<String> {
    let mut all = vec!["port-forward".to_owned()];
    if let Some(file) = &connection.kubeconfig {
        all.push(format!("--kubeconfig={}", file.display()));
    }
    if let Some(context) = &connection.context {
        all.push(format!("--context={context}"));
    }
    all.extend([
        format!("--namespace={namespace}"),
        "--address=127.0.0.1".to_owned(),
        target.to_owned(),
    ]);
    all.push(match here {
        0 => format!(":{there}"),
        here => format!("{here}:{there}"),
    });
    all
}

/// The port in `Forwarding from 127.0.0.1:40001 -> 6333`.
fn port_of(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("Forwarding from 127.0.0.1:")?;
    rest.split(' ').next()?.parse().ok()
}

/// The Service of the gateways of a cluster.
pub(super) fn gateway_service(cluster: &str) -> String {
    format!("{cluster}-gateway")
}

/// The Secret whose `ca.crt` the gateways' certificate is of.
pub(super) fn authority_secret(cluster: &VectorCluster) -> String {
    let name = cluster.name_any();
    match (cluster.spec.tls.mode, &cluster.spec.tls.secret_name) {
        (TlsMode::Secret, Some(secret)) => secret.clone(),
        (TlsMode::CertManager, _) => format!("{name}-gateway-serving-tls"),
        (TlsMode::Secret | TlsMode::SelfSigned | TlsMode::Disabled, _) => {
            format!("{name}-gateway-tls")
        },
    }
}

/// The Secret with the API keys.
pub(super) fn key_secret(cluster: &VectorCluster) -> String {
    let given = cluster.spec.auth.secret.as_ref();
    given.map_or_else(
        || format!("{}-auth", cluster.name_any()),
        |secret| secret.name.clone(),
    )
}

/// The Secret with a certificate that gateways let in, where they ask for one.
pub(super) fn client_secret(cluster: &VectorCluster) -> Option<String> {
    let asks = cluster.spec.tls.client_auth != ClientAuthentication::Disabled;
    asks.then(|| format!("{}-client-tls", cluster.name_any()))
}

/// The URL, and how certificate and key are had.
pub fn how_to_connect(cluster: &VectorCluster, port: u16) -> String {
    let namespace = cluster.namespace().unwrap_or_default();
    let (authority, keys) = (authority_secret(cluster), key_secret(cluster));
    let (mut shown, mut options) = (String::new(), "--cacert ca.crt".to_owned());
    if let Some(secret) = client_secret(cluster) {
        let read = |key: &str| {
            format!(
                "    kubectl get secret -n {namespace} {secret} -o go-template='{{{{index .data \"{key}\" | \
                 base64decode}}}}' > {key}\n"
            )
        };
        shown = format!(
            "The certificate that you show, and its key:\n{}{}",
            read("tls.crt"),
            read("tls.key")
        );
        options.push_str(" --cert tls.crt --key tls.key");
    }
    format!(
        "https://localhost:{port} is a gateway of {namespace}/{name}, until you end this.\n\n\
         Whom its certificate is of:\n    \
         kubectl get secret -n {namespace} {authority} -o go-template='{{{{index .data \"ca.crt\" | \
         base64decode}}}}' > ca.crt\n\
         {shown}An API key, admin or readonly:\n    \
         kubectl get secret -n {namespace} {keys} -o go-template='{{{{.data.readonly | \
         base64decode}}}}'\n\
         A question:\n    \
         curl {options} -H \"api-key: $KEY\" https://localhost:{port}/collections\n",
        name = cluster.name_any(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::conditions::tests::cluster;
    use serde_json::json;

    #[test]
    fn the_child_gets_what_the_plugin_was_given() {
        let connection = Connection {
            kubeconfig: Some("/k".into()),
            context: Some("c".to_owned()),
            namespace: None,
        };
        let all = arguments(&connection, "n", "service/s", (0, 6333));
        let expected = "port-forward --kubeconfig=/k --context=c --namespace=n \
            --address=127.0.0.1 service/s :6333";
        assert_eq!(all.join(" "), expected);
        let all = arguments(&Connection::default(), "n", "pod/p", (1, 2));
        assert!(all.ends_with(&["pod/p".to_owned(), "1:2".to_owned()]));
    }

    #[test]
    fn the_port_is_read_from_what_kubectl_says() {
        assert_eq!(
            port_of("Forwarding from 127.0.0.1:40001 -> 6333"),
            Some(40001)
        );
        assert_eq!(port_of("error: unable to forward"), None);
    }

    #[test]
    fn secrets_are_found_whoever_made_them() {
        let mut cluster = cluster(&json!({}));
        assert_eq!(authority_secret(&cluster), "small-gateway-tls");
        assert_eq!(key_secret(&cluster), "small-auth");
        cluster.spec.tls.mode = TlsMode::Secret;
        cluster.spec.tls.secret_name = Some("mine".to_owned());
        assert_eq!(authority_secret(&cluster), "mine");
        assert_eq!(client_secret(&cluster), None);
        let text = how_to_connect(&cluster, 1234);
        assert!(!text.contains("tls.key"), "{text}");
        assert!(text.contains("https://localhost:1234 "), "{text}");
        assert!(
            text.contains("{{index .data \"ca.crt\" | base64decode}}"),
            "{text}"
        );
    }
    #[test]
    fn who_has_to_show_a_certificate_is_told_where_it_is() {
        let mut cluster = cluster(&json!({}));
        cluster.spec.tls.client_auth = ClientAuthentication::Required;
        let text = how_to_connect(&cluster, 1234);
        assert!(text.contains("small-client-tls"), "{text}");
        assert!(text.contains("--cert tls.crt --key tls.key -H"), "{text}");
    }
}
