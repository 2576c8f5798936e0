//! `report`: one file with all that is known of a cluster, for those who help, and no secret in it.
//!
//! What cannot be had (a right that is missing, a kind that is not installed, a master that does not answer)
//! is said in `report.txt` and stops nothing else. What goes in passes `redact` first.

mod archive;
mod collect;
mod redact;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::Value;

use self::archive::File;
use self::redact::Scrub;
use super::look::{Access, Sight, within};
use super::masters;
use super::{Error, explain, status};
use crate::fault::chain;

/// Bytes of all logs together.
const LOGS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is being put together.
struct Bundle<'a> {
    access: &'a Access,
    name: &'a str,
    lines: i64,
    files: Vec<File>,
    /// What could not be had, and why.
    missing: Vec<String>,
    /// Secrets that objects name, whose content is looked for.
    secrets: BTreeSet<String>,
    /// What variables had that were hidden.
    hidden: BTreeSet<String>,
    log_bytes_left: usize,
}

impl Bundle<'_> {
    fn put(&mut self, path: &str, text: impl Into<String>) {
        self.files.push(File {
            path: path.to_owned(),
            text: text.into(),
        });
    }

    fn miss(&mut self, what: &str, error: &Error) {
        self.missing.push(format!("{what}: {}", chain(error)));
    }

    /// Puts an object or a list of them in, as YAML, without its secrets.
    fn put_objects(&mut self, path: &str, objects: Vec<Value>) {
        let mut text = String::new();
        for mut object in objects {
            redact::secret_names(&object, &mut self.secrets);
            if object.get("kind").and_then(Value::as_str) == Some("Secret") {
                let name = object.pointer("/metadata/name").and_then(Value::as_str);
                self.secrets.extend(name.map(str::to_owned));
            }
            redact::object(&mut object, &mut self.hidden);
            text.push_str("---\n");
            // A JSON value whose keys are strings has a YAML form.
            text.push_str(&serde_yaml_ng::to_string(&object).unwrap_or_default());
        }
        self.put(path, text);
    }
}

/// Writes the report of a cluster; what a person is told.
///
/// # Errors
/// [`Error::NoCluster`], or [`Error::File`]: one that is there is not overwritten.
pub async fn write(access: &Access, name: &str, file: &Path, lines: i64) -> Result<String, Error> {
    let sight = access.sight_with_warnings(name).await?;
    let mut bundle = Bundle {
        access,
        name,
        lines,
        files: Vec::new(),
        missing: Vec::new(),
        secrets: BTreeSet::new(),
        hidden: BTreeSet::new(),
        log_bytes_left: LOGS_BYTES_MAX,
    };
    bundle.put("status.txt", status::text(&sight));
    bundle.put("explain.txt", explain::text(&sight));
    bundle.put_objects("cluster.yaml", vec![as_value(&sight.cluster)]);
    bundle.versions().await;
    bundle.masters(&sight).await;
    bundle.objects().await;
    bundle.events().await;
    bundle.logs(&sight.pods).await;
    bundle.operator().await;
    let secrets = bundle.read_secrets().await;
    let scrub = Scrub::of(&secrets, &bundle.hidden);
    let (files, missing) = bundle.finish(&scrub, &sight);
    let folder = format!("vectorsphere-report-{name}");
    let time = u64::try_from(sight.now).unwrap_or(0);
    save(file, &archive::archive(&folder, &files, time))?;
    Ok(said(file, files.len(), missing))
}

fn as_value(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

fn said(file: &Path, files: usize, missing: usize) -> String {
    let mut text = format!(
        "{} holds {files} files; what Secrets hold is taken out of them\n",
        file.display()
    );
    if missing > 0 {
        text.push_str(&format!(
            "{missing} things could not be had: report.txt in it says which\n"
        ));
    }
    text
}

/// Writes the file, for its owner alone, unless there is one.
fn save(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error| Error::File(path.to_owned(), error);
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.sync_all().map_err(failed)
}

impl Bundle<'_> {
    async fn versions(&mut self) {
        let server = within(self.access.client.apiserver_version()).await;
        let server = match server {
            Ok(version) => version.git_version,
            Err(error) => {
                self.miss("the version of the API server", &error);
                "unknown".to_owned()
            },
        };
        let plugin = env!("CARGO_PKG_VERSION");
        self.put(
            "versions.txt",
            format!("plugin {plugin}\nKubernetes {server}\n"),
        );
    }

    /// What `vectorsphere ctl status --json` says.
    async fn masters(&mut self, sight: &Sight) {
        match masters::ask(self.access, sight).await {
            Ok(state) => self.put("masters.json", format!("{:#}\n", masters::json_of(&state))),
            Err(error) => self.miss("what the masters say", &error),
        }
    }

    /// The Secrets whose content must not be in the report.
    async fn read_secrets(&mut self) -> Vec<Secret> {
        let mut secrets = Vec::new();
        for name in self.secrets.clone() {
            match within(self.access.of::<Secret>().get_opt(&name)).await {
                Ok(secret) => secrets.extend(secret),
                Err(error) => self.miss(
                    &format!("Secret {name}, to look for its content in the logs"),
                    &error,
                ),
            }
        }
        secrets
    }

    /// The files without what the Secrets hold, and how much is missing.
    fn finish(self, scrub: &Scrub, sight: &Sight) -> (Vec<File>, usize) {
        let mut text = format!(
            "VectorCluster {}/{}, asked at {} (seconds since 1970).\n\
             Data of Secrets, and what they hold wherever it stood, is {}.\n",
            self.access.namespace,
            sight.cluster.name_any(),
            sight.now,
            redact::REMOVED
        );
        if self.missing.is_empty() {
            text.push_str("Nothing is missing.\n");
        } else {
            text.push_str("Missing:\n");
        }
        for one in &self.missing {
            text.push_str(&format!("* {one}\n"));
        }
        let first = File {
            path: "report.txt".to_owned(),
            text,
        };
        let files = std::iter::once(first).chain(self.files);
        let files = files.map(|file| File {
            text: scrub.clean(file.text),
            ..file
        });
        (files.collect(), self.missing.len())
    }
}
