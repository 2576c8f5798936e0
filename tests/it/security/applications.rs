//! Applications that show certificates to a gateway: a real gateway, and clients of others.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::support::pki::{Authority, Validity};
use crate::support::real_etcd::RealEtcd;
use crate::support::wait_for::wait_for;

const LIMIT: Duration = Duration::from_secs(60);
const KEY: &str = "correct-horse";
/// Connections that a stranger tries: many more than lines about them.
const STRANGERS: usize = 40;

/// A gateway that asks for certificates, with a port for probes.
struct Asking {
    folder: tempfile::TempDir,
    child: Child,
    _etcd: RealEtcd,
}

impl Drop for Asking {
    fn drop(&mut self) {
        // Gone already is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Asking {
    /// One that trusts these authorities to name applications; none where there is no etcd.
    async fn start(demand: &str, trusted: &[&Authority]) -> Option<Self> {
        let etcd = RealEtcd::start().await?;
        let folder = tempfile::tempdir().unwrap();
        let server = Authority::new("server");
        server.lay(&folder.path().join("tls"), &["localhost"], &[&server]);
        fs_err::write(folder.path().join("keys"), format!("admin: {KEY}\n")).unwrap();
        lay_trusted(folder.path(), trusted);
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let log = fs_err::File::create(folder.path().join("log")).unwrap();
        let authorities = format!("{},{}", path("clients.crt"), path("not-there.crt"));
        let child = Command::new(env!("CARGO_BIN_EXE_vectorsphere"))
            .args(["gateway", "--name", "demo-gateway-0", "--cluster", "demo"])
            .args(["--etcd", etcd.endpoint(), "--data-dir", &path("data")])
            .args(["--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"])
            .args([
                "--tls-cert",
                &path("tls/tls.crt"),
                "--tls-key",
                &path("tls/tls.key"),
            ])
            .args(["--api-key-file", &path("keys"), "--client-auth", demand])
            .args(["--client-authorities", &authorities])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.into_file())
            .spawn()
            .unwrap();
        let asking = Self {
            folder,
            child,
            _etcd: etcd,
        };
        wait_for("the gateway is ready", LIMIT, || async {
            let (_, probes) = asking.ports()?;
            let ready = asking.curl(probes, "/readyz", &[]);
            (said(&ready) == "ready 200").then_some(())
        })
        .await;
        Some(asking)
    }

    fn log(&self) -> String {
        fs_err::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The ports of the API and of the probes.
    fn ports(&self) -> Option<(u16, u16)> {
        let log = self.log();
        let port = |of: &str, field: &str| -> Option<u16> {
            let line = log.lines().find(|line| line.contains(of))?;
            let rest = line.split_once(field)?.1.split_once("127.0.0.1:")?.1;
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        };
        Some((
            port("bound", "http=")?,
            port("probes are answered", "address=")?,
        ))
    }

    fn api(&self) -> u16 {
        self.ports().unwrap().0
    }

    /// Asks as somebody else's client does: body and status, or how it failed.
    fn curl(&self, port: u16, path: &str, more: &[&str]) -> Output {
        let authority = self.folder.path().join("tls/ca.crt");
        Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--cacert"])
            .arg(authority)
            .args(["--write-out", " %{http_code}"])
            .args(more)
            .arg(format!("https://localhost:{port}{path}"))
            .output()
            .unwrap()
    }

    /// Asks with a certificate, with or without a key of the API.
    fn with(&self, shown: &Shown, key: Option<&str>) -> Output {
        let mut more = shown.arguments();
        let header = key.map(|key| format!("api-key: {key}"));
        if let Some(header) = &header {
            more.extend(["--header", header]);
        }
        self.curl(self.api(), "/collections", &more)
    }

    /// How many handshakes failed for a certificate, as who may look sees it.
    fn refused(&self, shown: &Shown) -> u64 {
        let key = format!("api-key: {KEY}");
        let more = [&shown.arguments()[..], &["--header", &key]].concat();
        let text = said(&self.curl(self.api(), "/metrics", &more));
        let wanted = "vectorsphere_process_handshakes_failed_total{why=\"certificate\"} ";
        let line = text.lines().find_map(|line| line.strip_prefix(wanted));
        line.expect(&text).trim().parse().unwrap()
    }

    fn trust(&self, trusted: &[&Authority]) {
        lay_trusted(self.folder.path(), trusted);
    }
}

/// Lays the authorities in place of those before, at once.
fn lay_trusted(folder: &Path, trusted: &[&Authority]) {
    let all: String = trusted.iter().map(|one| one.pem.as_str()).collect();
    let draft = folder.join("draft");
    fs_err::write(&draft, all).unwrap();
    fs_err::rename(&draft, folder.join("clients.crt")).unwrap();
}

/// What was answered, with the status behind it; or why there was no answer.
fn said(output: &Output) -> String {
    let bytes = if output.status.success() {
        &output.stdout
    } else {
        &output.stderr
    };
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn is_let_in(output: &Output) -> bool {
    said(output).ends_with(" 200")
}

/// A certificate of an application, in files.
struct Shown {
    _folder: tempfile::TempDir,
    certificate: String,
    key: String,
}

impl Shown {
    fn of(authority: &Authority, validity: Validity) -> Self {
        let (certificate, key) = authority.issue(&[], validity);
        let folder = tempfile::tempdir().unwrap();
        let lay = |name: &str, text: String| {
            let file = folder.path().join(name);
            fs_err::write(&file, text).unwrap();
            file.to_string_lossy().into_owned()
        };
        Self {
            certificate: lay("tls.crt", certificate),
            key: lay("tls.key", key),
            _folder: folder,
        }
    }

    fn arguments(&self) -> Vec<&str> {
        vec!["--cert", &self.certificate, "--key", &self.key]
    }
}

/// Required: who shows no certificate, one of another authority or one that is over has no answer; who shows
/// a good one still needs a key. Refused ones are all counted and few are said. Probes need nothing and
/// give nothing else away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_shows_a_good_certificate_and_a_key_is_answered() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let Some(gateway) = Asking::start("Required", &[&ours]).await else {
        return;
    };
    let good = Shown::of(&ours, Validity::Now);
    assert!(is_let_in(&gateway.with(&good, Some(KEY))));
    let keyless = said(&gateway.with(&good, None));
    assert!(keyless.ends_with(" 401"), "{keyless}");
    let header = format!("api-key: {KEY}");
    for more in [&[][..], &["--tlsv1.2", "--tls-max", "1.2"], &["--http1.1"]] {
        let more = [more, &["--header", &header]].concat();
        let refused = gateway.curl(gateway.api(), "/collections", &more);
        assert!(!refused.status.success(), "{}", said(&refused));
        let (_, probes) = gateway.ports().unwrap();
        let live = said(&gateway.curl(probes, "/livez", &more));
        assert!(live.ends_with(" 200"), "{live}");
        for path in ["/metrics", "/collections"] {
            let hidden = said(&gateway.curl(probes, path, &more));
            assert!(hidden.ends_with("404"), "{path}: {hidden}");
        }
    }
    for bad in [
        Shown::of(&theirs, Validity::Now),
        Shown::of(&ours, Validity::Over),
    ] {
        let refused = gateway.with(&bad, Some(KEY));
        assert!(!refused.status.success(), "{}", said(&refused));
    }
    for _ in 0..STRANGERS {
        assert!(!gateway.curl(gateway.api(), "/livez", &[]).status.success());
    }
    let counted = gateway.refused(&good);
    assert_eq!(counted, 5 + u64::try_from(STRANGERS).unwrap());
    let log = gateway.log();
    let lines = log
        .matches("connections are refused for their certificate")
        .count();
    assert!((1..=10).contains(&lines), "{lines} lines: {log}");
    assert!(!log.contains(KEY), "{log}");
}

/// Optional: no certificate will do, and one that is shown has to be good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_certificates_are_optional_a_bad_one_is_still_refused() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let Some(gateway) = Asking::start("Optional", &[&ours]).await else {
        return;
    };
    let header = format!("api-key: {KEY}");
    let without = gateway.curl(gateway.api(), "/collections", &["--header", &header]);
    assert!(is_let_in(&without), "{}", said(&without));
    assert!(is_let_in(
        &gateway.with(&Shown::of(&ours, Validity::Now), Some(KEY))
    ));
    let refused = gateway.with(&Shown::of(&theirs, Validity::Now), Some(KEY));
    assert!(!refused.status.success(), "{}", said(&refused));
}

/// The authority changes without a restart: both are let in while both are trusted, and no call fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authority_of_applications_changes_and_nobody_is_turned_away() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let Some(gateway) = Asking::start("Required", &[&old]).await else {
        return;
    };
    let [old_shown, new_shown] = [&old, &new].map(|one| Shown::of(one, Validity::Now));
    let asks = |shown: &Shown| is_let_in(&gateway.with(shown, Some(KEY)));
    assert!(!asks(&new_shown));
    gateway.trust(&[&old, &new]);
    wait_for("both are trusted", LIMIT, || async {
        assert!(asks(&old_shown), "the old one is trusted all the time");
        asks(&new_shown).then_some(())
    })
    .await;
    // What cannot be read changes nothing.
    fs_err::write(gateway.folder.path().join("clients.crt"), "").unwrap();
    wait_for("that is said", LIMIT, || async {
        let log = gateway.log();
        log.contains("no file of authorities holds a certificate")
            .then_some(())
    })
    .await;
    assert!(asks(&old_shown) && asks(&new_shown));
    gateway.trust(&[&new]);
    wait_for("the old one is forgotten", LIMIT, || async {
        assert!(asks(&new_shown), "the new one is trusted all the time");
        (!asks(&old_shown)).then_some(())
    })
    .await;
}
