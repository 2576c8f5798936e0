//! Which fields of a spec say something that whoever carries it out does not obey.

use serde_json::Value;

use crate::crd;
use crate::crd::v1alpha1::VectorClusterSpec;
use crate::topology::FieldPath;

/// The fields outside `obeyed` (each with all that is below it) that were set to something else than
/// their default, or have none; in the order of their names.
pub fn set_beside(spec: &VectorClusterSpec, obeyed: &[&str]) -> Vec<FieldPath> {
    let value = serde_json::to_value(spec).unwrap_or(Value::Null);
    let schema = crd::schema(crd::Kind::Cluster).pointer("/properties/spec");
    let mut search = Search {
        obeyed: obeyed.iter().map(|dotted| FieldPath::of(dotted)).collect(),
        found: Vec::new(),
    };
    search.walk(&value, schema, None, &FieldPath::of("spec"));
    search.found.sort();
    search.found
}

struct Search {
    obeyed: Vec<FieldPath>,
    found: Vec<FieldPath>,
}

impl Search {
    fn walk(
        &mut self,
        value: &Value,
        schema: Option<&Value>,
        default: Option<&Value>,
        path: &FieldPath,
    ) {
        if Some(value) == default || self.obeyed.iter().any(|obeyed| path.is_within(obeyed)) {
            return;
        }
        let properties = schema.and_then(|schema| schema.get("properties"));
        match (value, properties) {
            (Value::Object(fields), Some(properties)) => {
                for (name, value) in fields {
                    let schema = properties.get(name);
                    let default = default
                        .and_then(|object| object.get(name))
                        .or_else(|| schema.and_then(|schema| schema.get("default")));
                    self.walk(value, schema, default, &path.field(name));
                }
            },
            _ => self.found.push(path.clone()),
        }
    }
}
