//! A component as a child process of this very binary.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::children::Launch;
use super::{LOG_FOLDER, NAMESPACE, child_log};
use crate::settings::Dev;
use crate::tasks::Tasks;
use crate::topology::{Component, Role, Settings};

/// This binary, also when its file was replaced or removed: all of a cluster is one version.
const PROGRAM: &str = "/proc/self/exe";
/// Threads of glibc's allocator share two arenas: with one for each thread an idle process keeps
/// several times the memory.
const ALLOCATOR: (&str, &str) = ("MALLOC_ARENA_MAX", "2");

/// Starts components as children.
#[derive(Debug)]
pub(super) struct Binary {
    pub(super) settings: Dev,
    pub(super) data_dir: PathBuf,
    pub(super) cluster: String,
    pub(super) etcd: String,
    pub(super) tasks: Tasks,
}

impl Launch for Binary {
    fn launch(&mut self, component: &Component) -> io::Result<Child> {
        let mut command = Command::new(PROGRAM);
        command
            .arg0("vectorsphere")
            .args(self.arguments(component))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A key pressed in the terminal is for `dev` alone, which stops the others in order.
            .process_group(0)
            .kill_on_drop(true);
        if std::env::var_os(ALLOCATOR.0).is_none() {
            command.env(ALLOCATOR.0, ALLOCATOR.1);
        }
        let mut child = command.spawn()?;
        if let Some(output) = child.stderr.take() {
            let name = component.name.clone();
            let file = log_file(&self.data_dir, &name);
            let format = self.settings.logging.format;
            let copy = child_log::copy(output, name, file, format);
            self.tasks.spawn("child-log", copy);
        }
        Ok(child)
    }
}

/// Where a component's log is.
pub(super) fn log_file(data_dir: &Path, component: &str) -> PathBuf {
    data_dir.join(LOG_FOLDER).join(format!("{component}.log"))
}

impl Binary {
    /// The whole command line of a component. What `dev` decides is always said, so that no variable
    /// of the environment says otherwise; other variables reach the components.
    fn arguments(&self, component: &Component) -> Vec<OsString> {
        let settings = &self.settings;
        let is_gateway = component.role == Role::Gateway;
        let listen = match component.ordinal {
            0 if is_gateway => settings.listen,
            _ if is_gateway => SocketAddr::new(settings.listen.ip(), 0),
            _ => SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let file = |path: Option<&PathBuf>| path.map_or_else(OsString::new, OsString::from);
        let tls = settings.tls.as_ref().filter(|_| is_gateway);
        let mut arguments = vec![OsString::from(component.role.as_str())];
        let mut say = |name: &str, value: OsString| {
            let mut argument = OsString::from(format!("--{name}="));
            argument.push(value);
            arguments.push(argument);
        };
        say("name", component.name.clone().into());
        say("data-dir", self.data_dir.join(&component.name).into());
        say("etcd", self.etcd.clone().into());
        say("prefix", "/vectorsphere".into());
        say("namespace", NAMESPACE.into());
        say("cluster", self.cluster.clone().into());
        say("listen", listen.to_string().into());
        say("api-key-file", file(settings.api_key_file.as_ref()));
        say("tls-cert", file(tls.map(|tls| &tls.certificate)));
        say("tls-key", file(tls.map(|tls| &tls.key)));
        say("peer-tls", OsString::new());
        say("etcd-tls", OsString::new());
        say("advertise", OsString::new());
        say("log", settings.logging.filter.clone().into());
        say("log-format", settings.logging.format.as_str().into());
        say("end-with-parent", std::process::id().to_string().into());
        match &component.settings {
            Settings::Gateway { routing } => say("routing", routing_word(*routing).into()),
            Settings::Master { shards, .. } => {
                let shards = shards.map(|shards| shards.to_string());
                say("rpc-listen", "127.0.0.1:0".into());
                say("shards", shards.unwrap_or_default().into());
            },
            Settings::Worker => say("rpc-listen", "127.0.0.1:0".into()),
            Settings::Etcd { .. } => {},
        }
        arguments
    }
}

const fn routing_word(routing: crate::crd::v1alpha1::Routing) -> &'static str {
    use crate::crd::v1alpha1::Routing as Asked;
    use crate::settings::Routing;
    match routing {
        Asked::Direct => Routing::Direct.as_str(),
        Asked::ViaMaster => Routing::ViaMaster.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::prepare;
    use crate::settings::tests::Line;
    use crate::settings::{DataDir, EndWithParent, LogFormat, Logging};
    use crate::topology::{LAPTOP_SAMPLE, manifest};

    fn binary() -> Binary {
        let settings = Dev {
            file: None,
            data_dir: DataDir::Given("/data".into()),
            listen: "127.0.0.1:6333".parse().unwrap(),
            api_key_file: Some("/keys".into()),
            tls: None,
            logging: Logging {
                format: LogFormat::Json,
                filter: "warn".to_owned(),
            },
        };
        Binary {
            settings,
            data_dir: "/data".into(),
            cluster: "laptop".to_owned(),
            etcd: "http://127.0.0.1:2379".to_owned(),
            tasks: Tasks::new(),
        }
    }

    #[test]
    fn each_component_takes_the_settings_that_it_is_given() {
        let sample = LAPTOP_SAMPLE.replace(
            "  gateway:\n    replicas: 1",
            "  gateway:\n    replicas: 2\n    routing: ViaMaster",
        );
        let manifest = manifest::check(&sample).unwrap();
        let mut listening = Vec::new();
        for component in prepare::plan_for(&manifest, Vec::new(), false).components {
            let process = match Line::of(binary().arguments(&component)) {
                Line::Gateway(args) => {
                    let gateway = args.check().unwrap();
                    assert_eq!(gateway.routing.as_str(), "ViaMaster");
                    gateway.process
                },
                Line::Master(args) => args.check().unwrap().process,
                Line::Worker(args) => args.check().unwrap().process,
                other @ (Line::Dev(_) | Line::Operator(_)) => panic!("{other:?}"),
            };
            assert_eq!(process.name, component.name);
            assert_eq!(process.data_dir, Path::new("/data").join(&component.name));
            assert_eq!(process.namespace, "dev");
            assert_eq!(process.logging, binary().settings.logging);
            assert_eq!(process.api_key_file.as_deref(), Some(Path::new("/keys")));
            let pid = Some(std::process::id());
            assert_eq!(process.end_with_parent, Some(EndWithParent { pid }));
            listening.push(process.listen.to_string());
        }
        let any = "127.0.0.1:0";
        assert_eq!(listening, [any, any, "127.0.0.1:6333", any]);
    }
}
