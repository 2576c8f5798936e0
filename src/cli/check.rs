//! `vectorsphere ctl check`: asks a gateway as an application does, and says whether it answers.
//!
//! It reaches it by its URL, trusts only the authority that it is given, and shows a key. It waits, within
//! a bound, until the gateway says that it is ready, and then asks for the collections. The test of the
//! chart `vectorsphere-cluster` runs it inside Kubernetes, where there may be no other client.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use http::{StatusCode, Uri};
use serde_json::Value;

use crate::fault::chain;
use crate::plugin::gateway::{Gateway, Known, Shown};
use crate::security::credentials::{CERTIFICATE_FILE, KEY_FILE};

/// How long one question may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two questions while it is not ready.
const PAUSE: Duration = Duration::from_millis(500);

/// Which gateway, and by which credentials.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Where the gateway is: http://HOST:PORT or https://HOST:PORT.
    #[arg(long, value_name = "URL")]
    url: Uri,
    /// The authorities that its certificate may be of, PEM. Needed with https.
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
    /// A folder with tls.crt and tls.key, PEM: what is shown to a gateway that asks for certificates.
    #[arg(long, value_name = "DIR")]
    client_tls: Option<PathBuf>,
    /// A file that holds an API key and nothing else.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Seconds to wait until it is ready.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    wait: u64,
}

/// Asks, and says on one line what was answered.
///
/// # Errors
/// It does not answer, or not as it should.
pub(super) async fn check(args: &CheckArgs) -> anyhow::Result<String> {
    let gateway = gateway(args)?;
    let mut last = None;
    let waiting = async {
        loop {
            match gateway.get("/readyz").await {
                Ok((StatusCode::OK, _ready)) => return,
                Ok((status, why)) => last = Some(format!("{status}: {}", why.trim_end())),
                Err(error) => last = Some(chain(&error)),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let patience = Duration::from_secs(args.wait).max(QUESTION_TIMEOUT);
    if tokio::time::timeout(patience, waiting).await.is_err() {
        let last = last.unwrap_or_else(|| "no answer".to_owned());
        bail!("{} is not ready after {patience:?}: {last}", args.url);
    }
    let (status, text) = gateway.get("/collections").await?;
    ensure!(
        status == StatusCode::OK,
        "asked for collections: {status}: {text}"
    );
    let answer: Value = serde_json::from_str(&text).context("read the answer")?;
    let collections = answer
        .pointer("/result/collections")
        .and_then(Value::as_array);
    let count = collections.context("the answer has no collections")?.len();
    Ok(format!(
        "{} is ready and has {count} collections\n",
        args.url
    ))
}

/// The gateway that the arguments name.
fn gateway(args: &CheckArgs) -> anyhow::Result<Gateway> {
    let host = args.url.host().context("the URL has no host")?;
    let tls = match (args.url.scheme_str(), &args.authority) {
        (Some("http"), _) => None,
        (Some("https"), Some(file)) => {
            let shown = args.client_tls.as_deref().map(shown).transpose()?;
            Some(Known::by(&fs_err::read(file)?, host, shown.as_ref())?)
        },
        (Some("https"), None) => bail!("--authority is needed with https"),
        (_, _) => bail!("the URL begins with neither http:// nor https://"),
    };
    let key = match &args.api_key_file {
        Some(file) => Some(fs_err::read_to_string(file)?.trim().to_owned()),
        None => None,
    };
    Ok(Gateway {
        host: host.to_owned(),
        port: args.url.port_u16().unwrap_or(6_333),
        tls,
        key,
        timeout: QUESTION_TIMEOUT,
    })
}

/// The certificate and the key of a folder.
fn shown(folder: &Path) -> anyhow::Result<Shown> {
    Ok(Shown {
        certificate: fs_err::read(folder.join(CERTIFICATE_FILE))?,
        key: fs_err::read(folder.join(KEY_FILE))?,
    })
}
