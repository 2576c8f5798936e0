//! What a VectorCollection asks the masters for, whose a collection is, and where the two differ. Pure.
//!
//! A collection that was made or taken over for a VectorCollection carries that object's UID in the
//! settings that the masters keep of it, written in the same change that makes it. So whose it is
//! survives whatever becomes of the operator, and applications cannot write it.

use serde_json::{Value, json};

use crate::crd::v1alpha1::{Algorithm, Metric, VectorCollection, VectorCollectionSpec};
use crate::query::IndexChoice;
use crate::query::index;
use crate::rpc::proto;
use crate::vector::Distance;

/// Where the owner stands in the settings of a collection.
const OWNER: &str = "owner";

/// Why a spec is not carried out: a reason and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// A collection as a spec asks for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) name: String,
    dimensions: u32,
    distance: Distance,
    shards: Option<u32>,
    index: IndexChoice,
    build: index::Wanted,
}

/// The name of the collection in its cluster.
pub(super) fn name(object: &VectorCollection) -> &str {
    let own = object.metadata.name.as_deref().unwrap_or_default();
    object.spec.name.as_deref().unwrap_or(own)
}

impl Wanted {
    /// What an object asks for, or why that is not possible.
    pub(super) fn of(object: &VectorCollection) -> Result<Self, Refusal> {
        let spec = &object.spec;
        if let Some(copies) = spec.replication_factor.filter(|copies| *copies > 1) {
            return Err(Refusal {
                reason: "ReplicationNotAvailable",
                message: format!("replicationFactor {copies}: more than one copy is not built yet"),
            });
        }
        let index = index_choice(spec)?;
        let build = index.wanted().map_err(|error| Refusal {
            reason: "IndexInvalid",
            message: error.to_string(),
        })?;
        Ok(Self {
            name: name(object).to_owned(),
            dimensions: u32::try_from(spec.dimension).unwrap_or(0),
            distance: distance(spec.metric),
            shards: spec.shards.and_then(|shards| u32::try_from(shards).ok()),
            index,
            build,
        })
    }

    /// Whether the collection is to have no index.
    pub(super) fn is_flat(&self) -> bool {
        self.build == index::Wanted::Flat
    }

    /// How the collection that is there is not what is asked for; none of it can be changed.
    pub(super) fn differences(&self, there: &proto::CollectionState) -> Vec<String> {
        let mut found = Vec::new();
        if there.dimensions != self.dimensions {
            let (is, asked) = (there.dimensions, self.dimensions);
            found.push(format!("its dimension is {is} and not {asked}"));
        }
        if there.distance != self.distance.as_str() {
            let (is, asked) = (&there.distance, self.distance.as_str());
            found.push(format!("its metric is {is} and not {asked}"));
        }
        let shards = u32::try_from(there.shards.len()).unwrap_or(u32::MAX);
        if let Some(asked) = self.shards.filter(|asked| *asked != shards) {
            found.push(format!("it has {shards} shards and not {asked}"));
        }
        let choice = IndexChoice {
            algorithm: there.index_algorithm.clone(),
            parameters: there.index_parameters.clone().into_iter().collect(),
        };
        // Who asks for nothing takes what the server chose.
        let asks = self.build != index::Wanted::Automatic;
        if asks && choice.wanted().as_ref() != Ok(&self.build) {
            found.push("its index is another, and cannot be changed yet".to_owned());
        }
        found
    }

    /// The request that makes it.
    pub(super) fn create(&self, object: &VectorCollection) -> proto::CreateCollectionRequest {
        proto::CreateCollectionRequest {
            name: self.name.clone(),
            dimensions: self.dimensions,
            distance: self.distance.as_str().to_owned(),
            vector_name: None,
            shards: self.shards,
            index_algorithm: self.index.algorithm.clone(),
            index_parameters: self.index.parameters.clone().into_iter().collect(),
            config: owned(object).to_string().into(),
        }
    }

    /// The request that takes over the one that is there.
    pub(super) fn adopt(&self, object: &VectorCollection) -> proto::UpdateCollectionRequest {
        let config = owned(object).to_string().into();
        proto::UpdateCollectionRequest {
            name: self.name.clone(),
            change: Some(proto::update_collection_request::Change::Config(config)),
        }
    }
}

fn owned(object: &VectorCollection) -> Value {
    let metadata = &object.metadata;
    json!({OWNER: {"uid": metadata.uid, "name": metadata.name}})
}

/// The UID of the VectorCollection that a collection was made or taken over for.
pub(super) fn owner(there: &proto::CollectionState) -> Option<String> {
    let config: Value = serde_json::from_slice(&there.config).ok()?;
    let uid = config.get(OWNER)?.get("uid")?.as_str()?;
    Some(uid.to_owned())
}

fn distance(metric: Metric) -> Distance {
    match metric {
        Metric::Cosine => Distance::Cosine,
        Metric::Euclidean => Distance::Euclid,
        Metric::DotProduct => Distance::Dot,
        Metric::Manhattan => Distance::Manhattan,
    }
}

fn index_choice(spec: &VectorCollectionSpec) -> Result<IndexChoice, Refusal> {
    let index = &spec.index;
    // Only one algorithm has trees: who gives their number has chosen it.
    let trees = index.trees.map(|_number| Algorithm::Arroy);
    let algorithm = index.algorithm.or(trees).map(|algorithm| match algorithm {
        Algorithm::Graph => "graph".to_owned(),
        Algorithm::Arroy => "arroy".to_owned(),
        Algorithm::Flat => "flat".to_owned(),
    });
    let mut parameters = index.parameters.clone();
    if let Some(number) = index.trees {
        let twice = parameters.insert("trees".to_owned(), number.to_string());
        if twice.is_some() {
            return Err(Refusal {
                reason: "IndexInvalid",
                message: "trees stands in index.trees and in index.parameters".to_owned(),
            });
        }
    }
    Ok(IndexChoice {
        algorithm,
        parameters,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(spec: Value) -> VectorCollection {
        let mut whole = json!({"cluster": "small", "dimension": 4});
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(json!({
            "apiVersion": "vectorsphere.io/v1alpha1", "kind": "VectorCollection",
            "metadata": {"name": "texts", "uid": "u1"}, "spec": whole,
        }))
        .unwrap()
    }

    #[test]
    fn what_is_not_possible_is_refused_by_reason() {
        for (spec, reason, said) in [
            (
                json!({"replicationFactor": 2}),
                "ReplicationNotAvailable",
                "replicationFactor 2",
            ),
            (
                json!({"index": {"algorithm": "Graph", "parameters": {"bits": "3"}}}),
                "IndexInvalid",
                "`bits` must be 2, 4, 8 or 32",
            ),
            (
                json!({"index": {"trees": 300}}),
                "IndexInvalid",
                "`trees` must be 1 to 256",
            ),
            (
                json!({"index": {"parameters": {"m": "1"}}}),
                "IndexInvalid",
                "`m` is no parameter",
            ),
            (
                json!({"index": {"trees": 3, "parameters": {"trees": "4"}}}),
                "IndexInvalid",
                "index.trees and in index.parameters",
            ),
        ] {
            let refusal = Wanted::of(&object(spec.clone())).unwrap_err();
            assert_eq!(refusal.reason, reason, "{spec}");
            assert!(
                refusal.message.contains(said),
                "{spec}: {}",
                refusal.message
            );
        }
    }

    #[test]
    fn a_request_says_what_the_spec_says_and_whose_it_is() {
        let spec = json!({
            "name": "Texts", "metric": "DotProduct", "shards": 3, "index": {"trees": 7},
            "replicationFactor": 1,
        });
        let object = object(spec);
        let request = Wanted::of(&object).unwrap().create(&object);
        assert_eq!(
            (&*request.name, request.dimensions, &*request.distance),
            ("Texts", 4, "Dot")
        );
        assert_eq!(request.shards, Some(3));
        assert_eq!(request.index_algorithm.as_deref(), Some("arroy"));
        assert_eq!(request.index_parameters["trees"], "7");
        let made = proto::CollectionState {
            config: request.config,
            ..proto::CollectionState::default()
        };
        assert_eq!(owner(&made).as_deref(), Some("u1"));
        for other in [
            "",
            "null",
            "{\"owner\": 3}",
            "{\"owner\": {\"uid\": null}}",
            "{",
        ] {
            let config = other.to_owned().into();
            let made = proto::CollectionState {
                config,
                ..proto::CollectionState::default()
            };
            assert_eq!(owner(&made), None, "{other}");
        }
    }

    #[test]
    fn every_difference_that_cannot_be_changed_is_named() {
        let there =
            |dimensions, distance: &str, shards, algorithm: Option<&str>| proto::CollectionState {
                dimensions,
                distance: distance.to_owned(),
                shards: vec![proto::ShardState::default(); shards],
                index_algorithm: algorithm.map(str::to_owned),
                ..proto::CollectionState::default()
            };
        let plain = Wanted::of(&object(json!({}))).unwrap();
        assert_eq!(
            plain.differences(&there(4, "Cosine", 9, Some("flat"))),
            Vec::<String>::new()
        );
        let all = json!({"shards": 2, "index": {"algorithm": "Flat"}});
        let all = Wanted::of(&object(all)).unwrap();
        assert_eq!(
            all.differences(&there(4, "Cosine", 2, Some("Flat"))),
            Vec::<String>::new()
        );
        let expected = [
            "its dimension is 8 and not 4",
            "its metric is Dot and not Cosine",
            "it has 1 shards and not 2",
            "its index is another, and cannot be changed yet",
        ];
        assert_eq!(all.differences(&there(8, "Dot", 1, None)), expected);
    }
}
