//! The operator as a process: what it says while there are no definitions, and that of two of them one
//! leads whatever happens to it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use serde_json::Value;
use vectorsphere::clock::{Clock, Moment, SystemClock};

use crate::acting::serving;
use crate::acting::serving::{OPERATOR, Small, install};
use crate::kubernetes::Kubernetes;

pub(crate) const SYSTEM: &str = "vectorsphere-system";
const NAME: &str = "vectorsphere-operator";
const PODS: &str = "app.kubernetes.io/name=vectorsphere-operator";
/// How long anything here may take on a machine that others use too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// The Lease's time, a candidate's look, and what the API server takes.
const TAKEN_OVER: Duration = Duration::from_secs(15 + 2 + 5);
/// A Lease that is given up is taken at the next look.
const HANDED_OVER: Duration = Duration::from_secs(10);

/// Held by tests that measure what an operator does, so that nobody kills it meanwhile.
static CALM: RwLock<()> = RwLock::new(());

/// Nobody disturbs the operators while this is held.
pub(crate) fn calm() -> RwLockReadGuard<'static, ()> {
    CALM.read().unwrap_or_else(PoisonError::into_inner)
}

/// No test that wants calm runs while this is held.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    CALM.write().unwrap_or_else(PoisonError::into_inner)
}

/// Looks every so often until there is something to be seen.
#[track_caller]
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let began = SystemClock.now();
    loop {
        let missing = match look() {
            Ok(seen) => return seen,
            Err(missing) => missing,
        };
        let took = SystemClock.now().since(began);
        assert!(took < limit, "{what}: after {took:.1?}: {missing}");
        pause();
    }
}

/// Calls of kubectl take long enough; this only keeps a loop from filling a core.
fn pause() {
    let (_nobody, silence) = std::sync::mpsc::channel::<()>();
    assert!(silence.recv_timeout(Duration::from_millis(50)).is_err());
}

fn since(moment: Moment) -> Duration {
    SystemClock.now().since(moment)
}

/// The pods of the operators that are not about to go.
pub(crate) fn pods(kubernetes: &Kubernetes, namespace: &str) -> Vec<Value> {
    let arguments = ["get", "pods", "-n", namespace, "-l", PODS, "-o", "json"];
    let text = kubernetes.call(&arguments, "").accepted("pods");
    let list: Value = serde_json::from_str(&text).unwrap();
    let all = list["items"].as_array().unwrap().iter();
    let stay = all.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    stay.cloned().collect()
}

fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap()
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let mut ready = conditions.filter(|one| one["type"] == "Ready");
    ready.any(|one| one["status"] == "True")
}

fn restarts(pod: &Value) -> u64 {
    let container = &pod["status"]["containerStatuses"][0];
    container["restartCount"].as_u64().unwrap_or_default()
}

/// What a pod or a Service answers at a path, as `curl` sees it through a tunnel: status and text.
pub(crate) fn fetch(
    kubernetes: &Kubernetes,
    (namespace, of): (&str, &str),
    path: &str,
    key: Option<&str>,
) -> Result<(u16, String), String> {
    let mut tunnel = Command::new(kubernetes.kubectl())
        .args(["port-forward", "-n", namespace, of, ":8080"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(tunnel.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let port = line.split("127.0.0.1:").nth(1);
    let port = port.and_then(|rest| rest.split(' ').next());
    let asked = port.map(|port| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--insecure", "--max-time", "10"]);
        curl.args(["--write-out", "\n%{http_code}"]);
        if let Some(key) = key {
            curl.args(["--header", &format!("api-key: {key}")]);
        }
        curl.arg(format!("https://localhost:{port}{path}"));
        curl.output().unwrap()
    });
    tunnel.kill().unwrap();
    tunnel.wait().unwrap();
    let asked = asked.ok_or(line)?;
    let text = String::from_utf8(asked.stdout).unwrap();
    let (text, status) = text.rsplit_once('\n').ok_or_else(|| format!("{text:?}"))?;
    Ok((status.parse().unwrap(), text.to_owned()))
}

/// What an operator of all namespaces answers.
fn ask(kubernetes: &Kubernetes, pod: &Value, path: &str) -> Result<(u16, String), String> {
    let pod = format!("pod/{}", name(pod));
    fetch(kubernetes, (SYSTEM, &pod), path, None)
}

/// Waits until so many operators are ready.
pub(crate) fn wait_ready(kubernetes: &Kubernetes, namespace: &str, count: usize) -> Vec<Value> {
    until("ready operators", PATIENCE, || {
        let pods = pods(kubernetes, namespace);
        if pods.len() == count && pods.iter().all(is_ready) {
            return Ok(pods);
        }
        Err(format!("{pods:#?}"))
    })
}

/// What operators without definitions said.
#[derive(Debug)]
struct Waited {
    live: Vec<Result<(u16, String), String>>,
    ready: Vec<Result<(u16, String), String>>,
    restarts: u64,
    /// From the definitions to two ready operators.
    took: Duration,
}

/// The first thing of a run: `None` where the definitions were there already, or no pod can run.
static WAITED: OnceLock<Option<Waited>> = OnceLock::new();

/// Starts operators where there are no definitions, if so it is. What is returned is called when they
/// are there.
pub(crate) fn start_without_definitions(kubernetes: &Kubernetes) -> impl FnOnce() {
    let definition = ["get", "crd", "vectorclusters.vectorsphere.io"];
    let nodes = kubernetes.call(&["get", "nodes", "-o", "name"], "");
    let possible = !kubernetes.call(&definition, "").ok && !nodes.stdout.is_empty();
    let asked = possible.then(|| {
        let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        kubernetes.call(&arguments, OPERATOR).accepted("operator");
        until("operators that wait", PATIENCE, || {
            let pods = pods(kubernetes, SYSTEM);
            let all = |path| pods.iter().map(|pod| ask(kubernetes, pod, path)).collect::<Vec<_>>();
            let (live, ready) = (all("/livez"), all("/readyz"));
            let waits = |answer: &&Result<(u16, String), String>| {
                matches!(answer, Ok((503, text)) if text.contains("is not installed"))
            };
            let started = live.iter().filter(|answer| answer.is_ok()).count();
            if started == 2 && ready.iter().filter(waits).count() == 2 {
                return Ok((live, ready));
            }
            Err(format!("{live:?} {ready:?}"))
        })
    });
    move || {
        let installed = SystemClock.now();
        let waited = asked.map(|(live, ready)| {
            let pods = wait_ready(kubernetes, SYSTEM, 2);
            Waited {
                live,
                ready,
                restarts: pods.iter().map(restarts).sum(),
                took: since(installed),
            }
        });
        WAITED.set(waited).unwrap();
    }
}

#[test]
fn without_definitions_operators_live_are_not_ready_and_say_why() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    install(&kubernetes);
    let Some(waited) = WAITED.get().unwrap() else {
        eprintln!("SKIPPED: the definitions were there before, or there is no node");
        return;
    };
    let alive = Ok((200, "healthz check passed".to_owned()));
    assert!(
        waited.live.iter().all(|answer| *answer == alive),
        "{waited:?}"
    );
    assert_eq!(waited.ready.len(), 2);
    assert_eq!(waited.restarts, 0, "{waited:?}");
    eprintln!(
        "two operators without definitions: alive, not ready, no restart; ready {:.1?} after the \
         definitions came",
        waited.took
    );
}

/// Who holds the Lease.
fn holder(kubernetes: &Kubernetes) -> String {
    let lease = kubernetes.get(SYSTEM, "lease", NAME);
    let holder = lease["spec"]["holderIdentity"].as_str();
    holder.unwrap_or_default().to_owned()
}

/// Waits until another than this one holds the Lease; who, and after how long.
#[track_caller]
fn another(kubernetes: &Kubernetes, than: &str, limit: Duration) -> (String, Duration) {
    let began = SystemClock.now();
    let holder = until("another leader", limit, || {
        let holder = holder(kubernetes);
        if holder.is_empty() || holder == than {
            return Err(holder);
        }
        Ok(holder)
    });
    (holder, since(began))
}

/// Two ready operators, one of which leads.
fn settled(kubernetes: &Kubernetes) -> String {
    let pods = wait_ready(kubernetes, SYSTEM, 2);
    until("a leader", PATIENCE, || {
        let holder = holder(kubernetes);
        let leads = pods.iter().any(|pod| name(pod) == holder);
        if leads { Ok(holder) } else { Err(holder) }
    })
}

/// The process of a pod's operator, by its arguments. Pods run on this machine.
fn process_of(pod: &str) -> Option<String> {
    let argument = format!("--name={pod}");
    let folders = fs_err::read_dir("/proc").unwrap().flatten();
    let ids = folders.filter_map(|folder| folder.file_name().into_string().ok());
    let mut ids = ids.filter(|id| id.chars().all(|digit| digit.is_ascii_digit()));
    ids.find(|id| {
        let line = fs_err::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0)
            .any(|word| word == argument.as_bytes())
    })
}

fn signal(signal: &str, process: &str) {
    assert!(
        Command::new("kill")
            .args([signal, process])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn one_of_two_operators_leads_and_the_other_takes_over() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    install(&kubernetes);
    let _alone = alone();
    let namespace = kubernetes.namespace("leaders");
    let small = Small::new(&kubernetes, &namespace.name);
    let apply = ["apply", "--server-side", "-n", &namespace.name, "-f", "-"];
    kubernetes.call(&apply, serving::SMALL).accepted("apply");
    small.wait("condition=Ready");
    let delete = |pod: &str, more: &[&str]| {
        let delete = [&["delete", "pod", pod, "-n", SYSTEM, "--wait=false"], more].concat();
        assert!(kubernetes.call(&delete, "").ok);
    };

    // Told to end, it gives the Lease up.
    let first = settled(&kubernetes);
    delete(&first, &[]);
    let (_second, took) = another(&kubernetes, &first, HANDED_OVER);
    eprintln!("told to end: another led after {took:.1?}");

    // Killed, it does not.
    let second = settled(&kubernetes);
    delete(&second, &["--grace-period=0", "--force"]);
    let (_third, took) = another(&kubernetes, &second, TAKEN_OVER);
    let back = small.kill_worker();
    eprintln!(
        "killed: after {took:.1?}, and a worker that was killed then was back after {back:.1?}"
    );

    // Stopped in its tracks, it must not go on where it was when it wakes.
    let third = settled(&kubernetes);
    match process_of(&third) {
        None => eprintln!("stopped: not tried, the pods run elsewhere"),
        Some(process) => {
            signal("-STOP", &process);
            let (fourth, took) = another(&kubernetes, &third, TAKEN_OVER);
            let back = small.kill_worker();
            signal("-CONT", &process);
            let ended = until("the end of the former leader", PATIENCE, || {
                let pods = pods(&kubernetes, SYSTEM);
                let former = pods.iter().find(|pod| name(pod) == third).ok_or("no pod")?;
                let status = &former["status"]["containerStatuses"][0];
                let code = status["lastState"]["terminated"]["exitCode"].as_u64();
                code.ok_or_else(|| format!("{status:#}"))
            });
            assert_eq!(ended, 1, "it ends with an error");
            assert_eq!(settled(&kubernetes), fourth, "and leaves the other alone");
            eprintln!(
                "stopped: after {took:.1?}, worker back after {back:.1?}; awake, it ended with 1"
            );
        },
    }
    small.wait("condition=Ready");
}

#[test]
fn metrics_are_for_those_who_have_a_key() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    install(&kubernetes);
    let _calm = calm();
    let pods = wait_ready(&kubernetes, SYSTEM, 2);
    for pod in pods {
        let ready = Ok((200, "ready".to_owned()));
        assert_eq!(ask(&kubernetes, &pod, "/readyz"), ready, "the standby too");
        let (status, text) = ask(&kubernetes, &pod, "/metrics").unwrap();
        assert!(
            status == 401 && text.contains("API key"),
            "{status}: {text}"
        );
    }
}
