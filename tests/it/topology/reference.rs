//! `docs/crds.md`: the page about the kinds, made from their definitions.

use std::fmt::Write;

use serde_json::Value;
use vectorsphere::crd::{self, Kind};

/// An object of so many fields is told once, and pointed to from wherever else it stands.
const FIELDS_TOLD_ONCE: usize = 8;

const HEAD: &str = "# The custom resources

Made from the types in `src/crd` by `make gen`. Do not edit. `kubectl explain vectorcluster.spec` prints
the same texts; `kubectl get vectorsphere` lists objects of every kind.

Where no default stands the field is required or stays absent, and its text says what that means. An
object's default is that of its fields. Types of Kubernetes' own are not taken apart. A rule says
`on change` when it compares an object with what it was before.
";

/// The whole page.
pub(super) fn page() -> String {
    let mut page = HEAD.to_owned();
    for kind in Kind::ALL {
        section(kind, &mut page);
    }
    page
}

fn section(kind: Kind, page: &mut String) {
    let (spec, schema) = (&crd::definition(kind)["spec"], crd::schema(kind));
    let about = schema["description"].as_str().unwrap();
    let short = spec["names"]["shortNames"][0].as_str().unwrap();
    writeln!(page, "\n## {}\n\n{about}\n", kind.name()).unwrap();
    writeln!(page, "* Short name `{short}`, file `{}`", kind.file()).unwrap();
    let version = &spec["versions"][0];
    let told = |list: &Value, field: &str| -> Vec<String> {
        let items = list.as_array().into_iter().flatten();
        items
            .map(|item| format!("`{}`", item[field].as_str().unwrap()))
            .collect()
    };
    let columns = told(&version["additionalPrinterColumns"], "name");
    let selectable = told(&version["selectableFields"], "jsonPath");
    writeln!(page, "* Columns: {}", columns.join(", ")).unwrap();
    writeln!(page, "* Field selectors: {}", selectable.join(", ")).unwrap();
    if let Some(scale) = version["subresources"]["scale"].as_object() {
        let replicas = scale["specReplicasPath"].as_str().unwrap();
        writeln!(page, "* `kubectl scale` sets `{replicas}`").unwrap();
    }
    let name = &schema["properties"]["metadata"]["properties"]["name"];
    if name.is_object() {
        writeln!(page, "* `metadata.name`: {}", bounds(name)).unwrap();
    }
    for part in ["spec", "status"] {
        writeln!(page, "\n### {} {part}\n", kind.name()).unwrap();
        page.push_str("| Field | Type | Default | Bounds | Text |\n|---|---|---|---|---|\n");
        let mut told = Vec::new();
        rows(&schema["properties"][part], part, &mut told, page);
    }
    let mut found = Vec::new();
    rules(schema, "", &mut found);
    if !found.is_empty() {
        writeln!(page, "\n### {} rules\n", kind.name()).unwrap();
        page.push_str(&found.concat());
    }
}

/// The rows of an object's fields, and below each those of its own.
fn rows(schema: &Value, place: &str, told: &mut Vec<(Value, String)>, page: &mut String) {
    let required = schema["required"].as_array();
    let properties = schema["properties"].as_object();
    for (name, field) in properties.into_iter().flatten() {
        let place = format!("{place}.{name}");
        let is_required = required.is_some_and(|names| names.iter().any(|is| is == name));
        let foreign = crd::KUBERNETES_FIELDS.contains(&name.as_str());
        let same = told
            .iter()
            .find(|(fields, _)| *fields == field["properties"]);
        let mut kind = if foreign {
            "of Kubernetes".to_owned()
        } else if let Some((_, first)) = same {
            format!("as `{first}`")
        } else {
            kind_of(field)
        };
        if is_required {
            kind.push_str(", required");
        }
        let text = field["description"].as_str().unwrap_or_default();
        let cells = [kind, default_of(field), bounds(field), text.to_owned()];
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        writeln!(page, "| `{place}` | {} |", cells.join(" | ")).unwrap();
        if foreign || same.is_some() {
            continue;
        }
        if let Some(fields) = field["properties"].as_object()
            && fields.len() >= FIELDS_TOLD_ONCE
        {
            told.push((field["properties"].clone(), place.clone()));
        }
        rows(field, &place, told, page);
        rows(&field["items"], &format!("{place}[]"), told, page);
    }
}

fn kind_of(field: &Value) -> String {
    if field["enum"].is_array() {
        return "word".to_owned();
    }
    let whole = field["type"].as_str().unwrap_or("integer or string");
    match whole {
        "array" => format!("list of {}", kind_of(&field["items"])),
        "object" if field["additionalProperties"].is_object() => {
            format!("map of {}", kind_of(&field["additionalProperties"]))
        },
        "string" if field["format"] == "date-time" => "time".to_owned(),
        whole => whole.to_owned(),
    }
}

/// The default of a field that is no object: an object's is that of its fields.
fn default_of(field: &Value) -> String {
    let default = &field["default"];
    if default.is_null() || default.is_object() {
        return String::new();
    }
    match default.as_str().filter(|text| !text.is_empty()) {
        Some(text) => format!("`{text}`"),
        None => format!("`{default}`"),
    }
}

fn bounds(field: &Value) -> String {
    let mut found = Vec::new();
    if let Some(words) = field["enum"].as_array() {
        let words: Vec<_> = words.iter().map(|word| word.as_str().unwrap()).collect();
        found.push(words.join(", "));
    }
    for (least, most, unit) in [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " entries"),
    ] {
        match (field[least].as_i64(), field[most].as_i64()) {
            (Some(least), Some(most)) => found.push(format!("{least} to {most}{unit}")),
            (None, Some(most)) => found.push(format!("up to {most}{unit}")),
            (Some(least), None) => found.push(format!("{least}{unit} or more")),
            (None, None) => {},
        }
    }
    if let Some(pattern) = field["pattern"].as_str() {
        found.push(format!("`{pattern}`"));
    }
    if field["items"].is_object() {
        let each = bounds(&field["items"]);
        if !each.is_empty() {
            found.push(format!("each {each}"));
        }
    }
    found.join("; ")
}

/// The rules of a schema as lines, each with the field that an answer names.
fn rules(schema: &Value, place: &str, found: &mut Vec<String>) {
    let list = schema["x-kubernetes-validations"].as_array();
    for rule in list.into_iter().flatten() {
        let field = rule["fieldPath"].as_str().unwrap_or_default();
        let field = format!("{place}{field}");
        let change = if rule["rule"].as_str().unwrap().contains("oldSelf") {
            " (on change)"
        } else {
            ""
        };
        let message = rule["message"].as_str().unwrap();
        found.push(format!(
            "* `{}`{change}: {message}\n",
            field.trim_start_matches('.')
        ));
    }
    let properties = schema["properties"].as_object();
    for (name, field) in properties.into_iter().flatten() {
        rules(field, &format!("{place}.{name}"), found);
    }
    if let Some(items) = schema.get("items") {
        rules(items, &format!("{place}[]"), found);
    }
}
