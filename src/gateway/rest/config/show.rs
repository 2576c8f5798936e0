//! A collection as clients are shown it: every member that they require, with what was asked for
//! over what is usual.

use serde_json::{Map, Value, json};

use crate::query::{CollectionInfo, CollectionStatus, PayloadIndexInfo};

/// The result of `GET /collections/{collection}`.
pub(in crate::gateway::rest) fn describe(info: &CollectionInfo) -> Value {
    let status = match info.status {
        CollectionStatus::Green => "green",
        CollectionStatus::Yellow => "yellow",
        CollectionStatus::Red => "red",
    };
    let payload_schema: Map<String, Value> = info
        .payload_indexes
        .iter()
        .map(|(field, index)| (field.clone(), payload_index(index)))
        .collect();
    let mut result = json!({
        "status": status,
        "optimizer_status": "ok",
        "indexed_vectors_count": info.indexed_vectors,
        "points_count": info.points,
        "segments_count": info.segments,
        "config": config(info),
        "payload_schema": payload_schema,
    });
    let index = &info.index;
    if index.algorithm.is_some() || !index.parameters.is_empty() {
        let own = json!({"index": {"algorithm": index.algorithm, "parameters": index.parameters}});
        merge(&mut result, &json!({"vectorsphere": own}));
    }
    if !info.own_payload_indexes.is_empty() {
        let own = json!({"payload_indexes": info.own_payload_indexes});
        merge(&mut result, &json!({"vectorsphere": own}));
    }
    if let Some(quality) = &info.quality {
        let search = json!({
            "recall": quality.recall,
            "effort": quality.effort,
            "samples": quality.samples,
        });
        merge(&mut result, &json!({"vectorsphere": {"search": search}}));
    }
    result
}

fn config(info: &CollectionInfo) -> Value {
    let kept = |section: &str| info.config.get(section);
    let over = |mut usual: Value, section: &str| {
        if let Some(asked) = kept(section) {
            merge(&mut usual, asked);
        }
        usual
    };
    let vector = json!({
        "size": info.shape.dimensions,
        "distance": info.shape.distance.as_str(),
    });
    let vector = over(vector, "vectors");
    let vectors = match &info.shape.vector_name {
        None => vector,
        Some(name) => Value::Object(Map::from_iter([(name.clone(), vector)])),
    };
    let params = json!({
        "vectors": vectors,
        "shard_number": info.shards,
        "replication_factor": 1,
        "write_consistency_factor": 1,
        "on_disk_payload": true,
    });
    let hnsw = json!({
        "m": 16,
        "ef_construct": 100,
        "full_scan_threshold": 10_000,
        "max_indexing_threads": 0,
        "on_disk": false,
    });
    let optimizer = json!({
        "deleted_threshold": 0.2,
        "vacuum_min_vector_number": 1000,
        "default_segment_number": 0,
        "max_segment_size": null,
        "memmap_threshold": null,
        "indexing_threshold": 10_000,
        "flush_interval_sec": 5,
        "max_optimization_threads": null,
    });
    let wal = json!({"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1});
    // Switched off by a word is as never asked for.
    let quantization = kept("quantization_config").filter(|asked| asked.is_object());
    let mut config = json!({
        "params": over(params, "params"),
        "hnsw_config": over(hnsw, "hnsw_config"),
        "optimizer_config": over(optimizer, "optimizer_config"),
        "wal_config": over(wal, "wal_config"),
        "quantization_config": quantization,
    });
    for section in ["strict_mode_config", "metadata"] {
        if let Some(asked) = kept(section) {
            merge(
                &mut config,
                &Value::Object(Map::from_iter([(section.to_owned(), asked.clone())])),
            );
        }
    }
    config
}

fn payload_index(index: &PayloadIndexInfo) -> Value {
    let Value::Object(members) = &index.schema else {
        return json!({"data_type": index.schema, "points": index.points});
    };
    json!({
        "data_type": members.get("type"),
        "params": members,
        "points": index.points,
    })
}

/// Puts the members of one object over those of another, objects member by member.
fn merge(into: &mut Value, over: &Value) {
    match (into, over) {
        (Value::Object(into), Value::Object(over)) => {
            for (name, value) in over {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        },
        (into, over) => into.clone_from(over),
    }
}
