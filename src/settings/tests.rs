//! Settings are read through the command line's own parser, as texts.

use std::ffi::OsString;

use clap::Parser;

use super::*;

/// A command line as the binary reads it.
#[derive(Debug, Parser)]
pub(crate) enum Line {
    Gateway(GatewayArgs),
    Master(MasterArgs),
    Worker(WorkerArgs),
    Dev(DevArgs),
    Operator(OperatorArgs),
}

impl Line {
    /// The line with these words after the program's name.
    pub(crate) fn of(words: impl IntoIterator<Item = OsString>) -> Self {
        let program = std::iter::once(OsString::from("vectorsphere"));
        Self::try_parse_from(program.chain(words)).unwrap()
    }
}

const NEEDED: &str = "--name=w-0 --data-dir /d --etcd http://127.0.0.1:2379 --cluster laptop";

fn line(text: &str) -> Line {
    Line::of(text.split_whitespace().map(OsString::from))
}

fn worker(text: &str) -> Result<Worker, Error> {
    let Line::Worker(args) = line(&format!("worker {text}")) else {
        panic!("not a worker");
    };
    args.check()
}

fn dev(text: &str) -> Result<Dev, Error> {
    let Line::Dev(args) = line(&format!("dev {text}")) else {
        panic!("not dev");
    };
    args.check(Some("/home/zoe".as_ref()))
}

fn operator(text: &str) -> Result<Operator, Error> {
    let images = "--image-repository=vectorsphere --etcd-image=etcd:3";
    let Line::Operator(args) = line(&format!("operator {images} {text}")) else {
        panic!("not the operator");
    };
    args.check()
}

fn faults<T: std::fmt::Debug>(checked: Result<T, Error>) -> Vec<String> {
    let faults = checked.unwrap_err().faults;
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_left_out_has_its_default() {
    let worker = worker(NEEDED).unwrap();
    assert_eq!(worker.process.prefix, "/vectorsphere");
    assert_eq!(worker.process.listen.to_string(), "127.0.0.1:0");
    assert_eq!(worker.rpc_listen.to_string(), "127.0.0.1:0");
    assert_eq!(worker.process.logging.filter, "info");
    assert_eq!(worker.process.end_with_parent, None);
    assert_eq!(worker.searches_max, worker.process.threads);
    assert!(worker.map_bytes <= worker.map_bytes_max);
    let Line::Gateway(gateway) = line(&format!("gateway {NEEDED}")) else {
        panic!("not a gateway");
    };
    let gateway = gateway.check().unwrap();
    assert_eq!(gateway.process.listen.to_string(), "127.0.0.1:6333");
    assert_eq!(gateway.routing, Routing::Direct);
}

#[test]
fn every_fault_is_named_at_once() {
    let bad = "--name Worker_0 --etcd ftp://a:1 --prefix vectorsphere/ --namespace=-x --cluster-uid=1 \
               --listen nowhere --rpc-listen 10.0.0.1:1 --tls-cert c --advertise a/b --threads 0 \
               --environments-open-max many --map-bytes 2Gi --map-bytes-max 1Gi \
               --log-format xml --log a=b=c --end-with-parent=me";
    let found = faults(worker(bad));
    let settings: Vec<_> = found
        .iter()
        .map(|fault| fault.split(':').next().unwrap())
        .collect();
    let expected = [
        "--name",
        "--data-dir",
        "--etcd",
        "--prefix",
        "--namespace",
        "--cluster",
        "--cluster-uid",
        "--listen",
        "--tls-key",
        "--advertise",
        "--threads",
        "--end-with-parent",
        "--log-format",
        "--log",
        "--rpc-listen",
        "--environments-open-max",
        "--map-bytes-max",
    ];
    assert_eq!(settings, expected, "{found:#?}");
    assert!(
        found.iter().all(|fault| !fault.contains('\n')),
        "{found:#?}"
    );
}

#[test]
fn a_listener_that_others_reach_needs_keys_and_a_certificate() {
    let reach = faults(worker(&format!("{NEEDED} --listen 0.0.0.0:6333")));
    assert_eq!(
        reach,
        [
            "--api-key-file: is needed: others than this machine can reach 0.0.0.0:6333",
            "--tls-cert: is needed: others than this machine can reach 0.0.0.0:6333",
        ]
    );
    let guarded = "--listen [::]:1 --api-key-file k --tls-cert c --tls-key p";
    let worker = worker(&format!("{NEEDED} {guarded}")).unwrap();
    assert_eq!(worker.process.tls.unwrap().key, std::path::Path::new("p"));
    assert!(dev("--listen localhost:0").is_ok());
    assert_eq!(faults(dev("--listen 192.168.1.2:6333")).len(), 2);
}

#[test]
fn processes_that_others_reach_need_credentials_and_an_address_to_be_found_at() {
    let rpc = format!("{NEEDED} --rpc-listen 0.0.0.0:7000");
    let found = faults(worker(&rpc));
    assert!(found.concat().contains("--peer-tls is needed"), "{found:?}");
    let found = faults(worker(&format!("{rpc} --peer-tls /tls")));
    assert!(
        found.concat().contains("--advertise is needed"),
        "{found:?}"
    );
    let reached = worker(&format!("{rpc} --peer-tls /tls --advertise 10.0.0.7")).unwrap();
    assert_eq!(reached.process.advertise.as_deref(), Some("10.0.0.7"));
    let secure = NEEDED.replace("http:", "https:");
    assert_eq!(faults(worker(&secure)), ["--etcd-tls: is needed for https"]);
    assert!(worker(&format!("{secure} --etcd-tls /tls")).is_ok());
}

#[test]
fn an_empty_value_is_none() {
    let empty = [
        "--api-key-file=",
        "--peer-tls=",
        "--etcd-tls=",
        "--advertise=",
        "--threads=",
        "--listen=",
        "--map-bytes=",
    ];
    let worker = worker(&format!("{NEEDED} {}", empty.join(" "))).unwrap();
    assert_eq!(worker.process.api_key_file, None);
    assert_eq!(faults(self::worker(&NEEDED.replace("w-0", ""))).len(), 1);
}

#[test]
fn sizes_take_units_and_stay_in_their_range() {
    let size =
        |text: &str| worker(&format!("{NEEDED} --map-bytes={text}")).map(|worker| worker.map_bytes);
    assert_eq!(size("2Mi").unwrap(), 2 << 20);
    assert_eq!(size("1048576").unwrap(), 1 << 20);
    for wrong in [
        "1",
        "1Mb",
        "-1Mi",
        "99999999999999Ti",
        "17Ti",
        "Mi",
        "1.5Gi",
    ] {
        assert_eq!(faults(size(wrong)).len(), 1, "{wrong}");
    }
}

#[test]
fn a_process_can_be_told_who_its_parent_is() {
    let parent = |text: &str| {
        worker(&format!("{NEEDED} {text}"))
            .unwrap()
            .process
            .end_with_parent
    };
    assert_eq!(
        parent("--end-with-parent"),
        Some(EndWithParent { pid: None })
    );
    assert_eq!(
        parent("--end-with-parent=7"),
        Some(EndWithParent { pid: Some(7) })
    );
}

#[test]
fn etcd_has_one_to_nine_members() {
    let etcd = |text: &str| worker(&NEEDED.replace("http://127.0.0.1:2379", text));
    let three = etcd("http://a-0.b:1,http://[::1]:2,http://10.0.0.1:3").unwrap();
    assert_eq!(three.process.etcd.len(), 3);
    for wrong in [
        "a:1",
        "http://a",
        "http://a:0",
        "http://a:1/x",
        "http://:1",
        "http://a:1,",
    ] {
        assert_eq!(faults(etcd(wrong)).len(), 1, "{wrong}");
    }
    assert_eq!(faults(etcd(&["http://a:1"; 10].join(","))).len(), 1);
}

#[test]
fn the_folder_of_a_cluster_lies_in_the_home_folder() {
    let folder = |text: &str| dev(text).unwrap().data_dir.of("laptop");
    assert_eq!(
        folder(""),
        std::path::Path::new("/home/zoe/.local/share/vectorsphere/laptop")
    );
    assert_eq!(folder("--data-dir /x"), std::path::Path::new("/x"));
    let Line::Dev(homeless) = line("dev") else {
        panic!("not dev");
    };
    assert_eq!(faults(homeless.check(None)).len(), 1);
}

#[test]
fn a_misspelled_variable_is_refused_and_kubernetes_own_are_not() {
    let known = ["VECTORSPHERE_ETCD".to_owned()];
    let environment = [
        "PATH",
        "VECTORSPHERE_ETCD",
        "VECTORSPHERE_ETDC",
        "VECTORSPHERE_GATEWAY_SERVICE_HOST",
        "VECTORSPHERE_GATEWAY_SERVICE_PORT_HTTP",
        "VECTORSPHERE_GATEWAY_PORT",
        "VECTORSPHERE_GATEWAY_PORT_6333_TCP_ADDR",
        "VECTORSPHERE_TEST_ETCD",
    ];
    let faults = unknown_variables(environment.into_iter(), &known);
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].to_string(), "VECTORSPHERE_ETDC: is not a setting");
}

#[test]
fn an_operator_needs_a_lease_unless_it_is_told_otherwise() {
    let alone = operator("--lease=off").unwrap();
    assert_eq!((alone.lease, alone.namespaces.len()), (None, 0));
    assert_eq!(alone.listen.to_string(), "127.0.0.1:8080");
    assert_eq!((alone.api_key_file, alone.tls), (None, None));
    let one = operator("--lease-namespace system --name operator-0 --namespace b,a,b").unwrap();
    let lease = LeaseSettings {
        namespace: "system".to_owned(),
        name: "operator-0".to_owned(),
    };
    assert_eq!(one.lease, Some(lease));
    assert_eq!(one.namespaces, ["a", "b"]);
    let found = faults(operator("--namespace a,,b --listen here --tls-key k"));
    let named: Vec<_> = found
        .iter()
        .map(|fault| fault.split(':').next().unwrap())
        .collect();
    let expected = [
        "--namespace",
        "--lease-namespace",
        "--name",
        "--listen",
        "--tls-cert",
    ];
    assert_eq!(named, expected);
    assert_eq!(faults(operator("--lease maybe")).len(), 1);
    let many: Vec<_> = (0..65).map(|n| format!("n{n}")).collect();
    let many = format!("--lease off --namespace {}", many.join(","));
    assert_eq!(faults(operator(&many)).len(), 1);
}

fn gateway(rest: &str) -> Result<Gateway, Error> {
    let Line::Gateway(args) = line(&format!("gateway {NEEDED} {rest}")) else {
        panic!("not a gateway");
    };
    args.check()
}

#[test]
fn a_gateway_that_asks_applications_for_certificates_knows_of_whom() {
    let tls = "--tls-cert c --tls-key k";
    let asked = gateway(&format!(
        "{tls} --client-auth Required --client-authorities /a,/b --probe-listen 0.0.0.0:1"
    ));
    let asked = asked.unwrap();
    let clients = asked.clients.unwrap();
    assert_eq!(clients.demand, ClientAuth::Required);
    assert_eq!(
        clients.authorities,
        ["/a", "/b"].map(std::path::PathBuf::from)
    );
    assert_eq!(asked.probe_listen.unwrap().port(), 1);
    assert_eq!(gateway(tls).unwrap().clients, None);
    let without = faults(gateway("--client-auth Optional"));
    let named = [
        "--tls-cert: is needed with",
        "--client-authorities: is needed with",
    ];
    let pairs = without.iter().zip(named);
    assert!(
        pairs.clone().all(|(fault, name)| fault.starts_with(name)),
        "{without:?}"
    );
    assert_eq!(without.len(), 2);
    let open = faults(gateway("--probe-listen 0.0.0.0:1"));
    assert!(
        open.concat().starts_with("--tls-cert: is needed: others"),
        "{open:?}"
    );
    assert_eq!(faults(gateway("--client-auth required")).len(), 1);
}
