//! With real processes: small shell scripts in the place of components.

use std::process::Stdio;

use fs_err as fs;
use tokio::process::Command;

use super::*;
use crate::clock::SystemClock;
use crate::topology::{Role, Settings};

/// How long a condition may take to come true; far more than it takes.
const LIMIT: Duration = Duration::from_secs(20);
const ROLES: [Role; 3] = [Role::Master, Role::Worker, Role::Gateway];

struct Scripts(Vec<(Role, String)>);

impl Launch for Scripts {
    fn launch(&mut self, component: &Component) -> io::Result<Child> {
        let script = self.0.iter().find(|(role, _)| *role == component.role);
        let (_, script) = script.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    }
}

struct Scene {
    children: Children<Scripts>,
    news: mpsc::Receiver<News>,
    ask: mpsc::Sender<()>,
    asked: mpsc::Receiver<()>,
}

fn scene(scripts: Vec<(Role, String)>) -> Scene {
    let component = |role: Role| Component {
        role,
        name: role.as_str().to_owned(),
        ordinal: 0,
        settings: Settings::Worker,
    };
    let (children, news) = Children::new(
        Scripts(scripts),
        ROLES.into_iter().map(component).collect(),
        SystemClock::shared(),
        Arc::new(Entropy::from_seed(3)),
        &Tasks::new(),
    );
    let (ask, asked) = mpsc::channel(2);
    Scene {
        children,
        news,
        ask,
        asked,
    }
}

async fn requests(asked: &mut mpsc::Receiver<()>) {
    if asked.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

async fn next(news: &mut mpsc::Receiver<News>) -> News {
    let next = tokio::time::timeout(LIMIT, news.recv()).await;
    next.expect("news in time").expect("news")
}

fn is_there(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

/// Waits until each role's script has made its file.
async fn all_made(folder: &std::path::Path) {
    let made = |role: Role| folder.join(role.as_str()).try_exists().unwrap();
    let all = async {
        while !ROLES.into_iter().all(made) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, all)
        .await
        .expect("the scripts run");
}

#[tokio::test]
async fn who_ends_or_cannot_be_started_is_started_again() {
    let mut scene = scene(vec![
        (Role::Worker, "exit 3".to_owned()),
        (Role::Master, "exec cat".to_owned()),
    ]);
    let story = async {
        let (mut worker_starts, mut gateway_failures, mut master) = (0, 0, 0);
        while worker_starts < 3 || gateway_failures < 3 {
            match next(&mut scene.news).await {
                News::Started(0, pid) => master = pid,
                News::Started(1, _) => worker_starts += 1,
                // There is no script for it: it cannot even be started.
                News::Ended(2) => gateway_failures += 1,
                News::Ended(1) => {},
                other @ (News::Started(..) | News::Ended(_)) => panic!("{other:?}"),
            }
        }
        assert!(is_there(master));
        scene.ask.send(()).await.unwrap();
        while next(&mut scene.news).await != News::Ended(0) {}
        assert!(!is_there(master));
    };
    let run = scene
        .children
        .run(async || requests(&mut scene.asked).await);
    let (end, ()) = tokio::join!(run, story);
    assert_eq!(end, End::InOrder);
}

#[tokio::test]
async fn a_stop_ends_the_roles_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let order = folder.path().join("order");
    let script = |role: Role| {
        let file = order.display();
        let ready = folder.path().join(role.as_str());
        let ready = ready.display();
        let end = format!("trap 'echo {role} >> {file}; exit 0' TERM; : > {ready}");
        (role, format!("{end}; while :; do read x; done"))
    };
    let mut scene = scene(ROLES.map(script).to_vec());
    let story = async {
        all_made(folder.path()).await;
        scene.ask.send(()).await.unwrap();
        while next(&mut scene.news).await != News::Ended(0) {}
    };
    let run = scene
        .children
        .run(async || requests(&mut scene.asked).await);
    let (end, ()) = tokio::join!(run, story);
    assert_eq!(end, End::InOrder);
    assert_eq!(
        fs::read_to_string(&order).unwrap(),
        "gateway\nworker\nmaster\n"
    );
}

#[tokio::test]
async fn a_second_request_kills_who_does_not_listen() {
    let folder = tempfile::tempdir().unwrap();
    let deaf = |role: Role| {
        let ready = folder.path().join(role.as_str());
        let ready = ready.display();
        (
            role,
            format!("trap '' TERM; : > {ready}; while :; do read x; done"),
        )
    };
    let mut scene = scene(ROLES.map(deaf).to_vec());
    let story = async {
        all_made(folder.path()).await;
        scene.ask.send(()).await.unwrap();
        scene.ask.send(()).await.unwrap();
    };
    let run = scene
        .children
        .run(async || requests(&mut scene.asked).await);
    let (end, ()) = tokio::join!(run, story);
    assert_eq!(end, End::AtOnce);
    for _ in ROLES {
        let News::Started(_, pid) = next(&mut scene.news).await else {
            panic!("something ended before it was killed");
        };
        assert!(!is_there(pid));
    }
}
