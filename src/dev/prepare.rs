//! From the manifest's file to what should run here.

use std::io;
use std::path::Path;

use fs_err as fs;

use super::Error;
use crate::topology::manifest::{self, Checked};
use crate::topology::{
    self, Component, LAPTOP_SAMPLE, Observation, Observed, Role, State, one_machine,
};

/// What should run, and what a person should be told first.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) components: Vec<Component>,
    pub(super) notices: Vec<String>,
}

/// Reads and checks a manifest; without a file it is the laptop sample.
pub(super) fn read(file: Option<&Path>) -> Result<Checked, Error> {
    let (name, text) = match file {
        None => ("the laptop sample".to_owned(), LAPTOP_SAMPLE.to_owned()),
        Some(file) => (
            file.display().to_string(),
            fs::read_to_string(file).map_err(Error::Read)?,
        ),
    };
    manifest::check(&text).map_err(|faults| Error::Manifest { file: name, faults })
}

/// What should run, given what earlier runs left in the data folder. Etcd is not among it: it runs in
/// this process. Fields without effect are told to whoever wrote them: of the sample, which has no
/// file, nobody is told.
pub(super) fn plan_for(manifest: &Checked, existing: Vec<Observed>, has_file: bool) -> Prepared {
    let fit = one_machine(&manifest.spec);
    let observation = Observation {
        components: existing,
        next_worker_ordinal: 0,
    };
    let mut components = topology::plan(&fit.spec, &manifest.name, &observation).components;
    components.retain(|component| component.role != Role::Etcd);
    let mut notices: Vec<String> = fit
        .without_effect
        .iter()
        .filter(|path| has_file && manifest.sets(path))
        .map(|path| format!("no effect on one machine: {path}"))
        .collect();
    let left_out = observation.components.iter().filter(|existing| {
        existing.role == Role::Worker
            && !components.iter().any(|wanted| wanted.name == existing.name)
    });
    notices.extend(left_out.map(|worker| {
        format!(
            "{} has data here and does not run: its shards are not served until spec.worker.replicas \
             is larger",
            worker.name
        )
    }));
    if components.is_empty() {
        notices.push("nothing runs: spec.power is Hibernated".to_owned());
    }
    Prepared {
        components,
        notices,
    }
}

/// [`plan_for`] what is in the data folder.
pub(super) fn plan(manifest: &Checked, data_dir: &Path, has_file: bool) -> io::Result<Prepared> {
    let existing = existing(data_dir, &manifest.name)?;
    Ok(plan_for(manifest, existing, has_file))
}

/// The components that have a folder.
fn existing(data_dir: &Path, cluster: &str) -> io::Result<Vec<Observed>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(data_dir)? {
        let name = entry?.file_name();
        found.extend(name.to_str().and_then(|name| component(name, cluster)));
    }
    Ok(found)
}

fn component(name: &str, cluster: &str) -> Option<Observed> {
    let (role, ordinal) = name
        .strip_prefix(cluster)?
        .strip_prefix('-')?
        .split_once('-')?;
    let role = [Role::Master, Role::Worker, Role::Gateway]
        .into_iter()
        .find(|known| known.as_str() == role)?;
    Some(Observed {
        role,
        name: name.to_owned(),
        ordinal: ordinal.parse().ok()?,
        state: State::Stopped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prepared: &Prepared) -> Vec<&str> {
        let names = prepared.components.iter();
        names.map(|component| component.name.as_str()).collect()
    }

    #[test]
    fn the_laptop_sample_runs_one_of_each_role() {
        let manifest = read(None).unwrap();
        let prepared = plan_for(&manifest, Vec::new(), false);
        let expected = ["laptop-master-0", "laptop-worker-0", "laptop-gateway-0"];
        assert_eq!(names(&prepared), expected);
    }

    #[test]
    fn workers_keep_their_folders_and_one_too_many_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "laptop-worker-2",
            "laptop-worker-3",
            "logs",
            "other-worker-9",
            "etcd",
        ] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let manifest = read(None).unwrap();
        let prepared = plan(&manifest, folder.path(), false).unwrap();
        assert!(names(&prepared).contains(&"laptop-worker-2"));
        assert!(!names(&prepared).contains(&"laptop-worker-0"));
        let told = prepared.notices.iter();
        assert_eq!(
            told.filter(|notice| notice.contains("laptop-worker-3"))
                .count(),
            1
        );
    }

    #[test]
    fn only_fields_that_somebody_wrote_have_no_effect() {
        let told = |text: &str, has_file| {
            let manifest = manifest::check(text).unwrap();
            plan_for(&manifest, Vec::new(), has_file).notices
        };
        assert!(told(LAPTOP_SAMPLE, false).is_empty());
        let written = format!("{LAPTOP_SAMPLE}  deletionProtection: true\n");
        let fields = ["spec.deletionProtection", "spec.worker.storage.size"];
        let expected = fields.map(|field| format!("no effect on one machine: {field}"));
        assert_eq!(told(&written, true), expected);
    }

    #[test]
    fn a_bad_manifest_names_its_file_and_every_fault() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bad.yaml");
        let bad = LAPTOP_SAMPLE
            .replace("replicationFactor: 1", "replicationFactor: 2")
            .replace("size: 10Gi", "sise: 10Gi");
        fs::write(&file, bad).unwrap();
        match read(Some(&file)) {
            Err(Error::Manifest {
                file: named,
                faults,
            }) => {
                assert_eq!(named, file.display().to_string());
                assert!(faults.len() >= 2, "{faults:?}");
            },
            other => panic!("{other:?}"),
        }
        let missing = read(Some(&folder.path().join("none.yaml")));
        assert!(matches!(missing, Err(Error::Read(_))));
    }
}
