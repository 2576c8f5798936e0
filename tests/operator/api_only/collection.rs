//! What the server accepts and refuses of a `VectorCollection`.

use vectorsphere::crd::Kind;

use crate::api_only::cases::{Case, bad, bad_change, change, good};
use crate::api_only::others::{CLUSTER_41, LONG, check};

/// As long as a cluster's name may be.
const CLUSTER_40: &str = "a234567890123456789012345678901234567890";
const NAME: &str = "spec.name";
const SHARDS: &str = "spec.shards";
const TREES: &str = "trees goes with algorithm Arroy";

const COLLECTION: &[Case] = &[
    good("the least", &[]),
    good("a name of 253 characters", &[("metadata.name", LONG)]),
    good("a cluster of 40", &[("spec.cluster", CLUSTER_40)]),
    bad(
        "a cluster of 41",
        &[("spec.cluster", CLUSTER_41)],
        "spec.cluster: Too long",
    ),
    bad(
        "no cluster",
        &[("spec.cluster", "-")],
        "spec.cluster: Required value",
    ),
    bad_change(
        "another cluster",
        &[],
        &[("spec.cluster", "other")],
        "cluster is immutable",
    ),
    good("the most components", &[("spec.dimension", "65536")]),
    bad(
        "no component",
        &[("spec.dimension", "0")],
        "spec.dimension in body should be greater than or equal to 1",
    ),
    bad(
        "too many components",
        &[("spec.dimension", "65537")],
        "spec.dimension in body should be less than or equal to 65536",
    ),
    bad_change(
        "another dimension",
        &[],
        &[("spec.dimension", "3")],
        "dimension is immutable",
    ),
    good("another metric", &[("spec.metric", "DotProduct")]),
    bad(
        "an unknown metric",
        &[("spec.metric", "Dot")],
        "supported values: \"Cosine\", \"Euclidean\", \"DotProduct\", \"Manhattan\"",
    ),
    bad_change(
        "the metric changes",
        &[],
        &[("spec.metric", "Manhattan")],
        "metric is immutable",
    ),
    good("a name with spaces", &[(NAME, "Zoë 1")]),
    good("a name of dots", &[(NAME, "'...'")]),
    bad(
        "a name that is a path",
        &[(NAME, "a/b")],
        "spec.name in body should match",
    ),
    bad(
        "a name with a control character",
        &[(NAME, "\"a\\u0007b\"")],
        "spec.name in body should match",
    ),
    bad(
        "a name of one dot",
        &[(NAME, "'.'")],
        "a name is not . or ..",
    ),
    bad(
        "a name of two dots",
        &[(NAME, "'..'")],
        "a name is not . or ..",
    ),
    bad_change(
        "a name comes late",
        &[],
        &[(NAME, "a")],
        "name is immutable",
    ),
    bad_change(
        "a name changes",
        &[(NAME, "a")],
        &[(NAME, "b")],
        "name is immutable",
    ),
    bad_change(
        "a name goes",
        &[(NAME, "a")],
        &[(NAME, "-")],
        "name is immutable",
    ),
    good("the most shards", &[(SHARDS, "4096")]),
    bad(
        "too many shards",
        &[(SHARDS, "4097")],
        "spec.shards in body should be less than or equal to 4096",
    ),
    bad_change(
        "shards come late",
        &[],
        &[(SHARDS, "2")],
        "shards is immutable",
    ),
    bad_change(
        "shards change",
        &[(SHARDS, "2")],
        &[(SHARDS, "3")],
        "shards is immutable",
    ),
    bad_change(
        "shards go",
        &[(SHARDS, "2")],
        &[(SHARDS, "-")],
        "shards is immutable",
    ),
    change("other copies", &[], &[("spec.replicationFactor", "2")]),
    change(
        "another index",
        &[("spec.index.algorithm", "Arroy")],
        &[("spec.index.algorithm", "Flat")],
    ),
    change(
        "an index of the server's choice",
        &[("spec.index.algorithm", "Graph")],
        &[("spec.index.algorithm", "-")],
    ),
    bad(
        "an unknown index",
        &[("spec.index.algorithm", "Hnsw")],
        "supported values: \"Graph\", \"Arroy\", \"Flat\"",
    ),
    good(
        "trees of a forest",
        &[("spec.index", "{algorithm: Arroy, trees: 10}")],
    ),
    good("trees if it is a forest", &[("spec.index.trees", "10")]),
    bad(
        "trees of a graph",
        &[("spec.index", "{algorithm: Graph, trees: 10}")],
        TREES,
    ),
    bad_change(
        "trees that lose their forest",
        &[("spec.index.trees", "10")],
        &[("spec.index.algorithm", "Flat")],
        TREES,
    ),
    good("parameters", &[("spec.index.parameters", "{any: 'thing'}")]),
    bad(
        "a parameter that is no text",
        &[("spec.index.parameters", "{any: 1}")],
        ".spec.index.parameters.any: expected string",
    ),
    change("adopted", &[], &[("spec.adopt", "true")]),
    change(
        "protected, and deleted with its object",
        &[],
        &[
            ("spec.deletionProtection", "true"),
            ("spec.deletionPolicy", "Delete"),
        ],
    ),
];

#[test]
fn every_rule_of_a_collection_accepts_and_refuses() {
    check(Kind::Collection, "collection", COLLECTION);
}
