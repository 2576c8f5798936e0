//! What a collection may say about its index: the kinds, their parameters, and the ranges of those.
//!
//! A choice is checked where it comes in and again by the master, so that nothing is accepted that no
//! build obeys. The worker reads its build from the same words.

use super::IndexChoice;

/// What a collection asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wanted {
    /// Nothing by name: each shard chooses.
    Automatic,
    /// No index.
    Flat,
    /// Random projection trees.
    Trees(TreeParameters),
    /// A graph over small codes.
    Graph(GraphParameters),
}

/// Parameters of a graph; an absent one is chosen by what a build measures.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GraphParameters {
    /// Bits of a code's component: 2, 4, 8, or 32 for the floats themselves.
    pub bits: Option<u8>,
    /// The share of the ten nearest that a search is to find, 0.5 to 0.99.
    pub recall: Option<f32>,
}

/// Parameters of trees; an absent one has its usual value.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TreeParameters {
    /// Trees, 1 to 256.
    pub trees: Option<u16>,
    /// Rows of a leaf at most, 16 to 4,096.
    pub leaf_rows: Option<u16>,
    /// The share of the ten nearest that a search is to find, 0.5 to 0.99.
    pub recall: Option<f32>,
}

/// Why a choice can never be obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl IndexChoice {
    /// What is asked for, checked.
    ///
    /// # Errors
    /// [`Error`], which names the algorithm or the parameter.
    pub fn wanted(&self) -> Result<Wanted, Error> {
        let algorithm = self.algorithm.as_deref().map(str::to_ascii_lowercase);
        match algorithm.as_deref() {
            Some("arroy") => Ok(Wanted::Trees(self.trees()?)),
            Some("graph") => Ok(Wanted::Graph(self.graph()?)),
            None => self.without_parameters("no algorithm", Wanted::Automatic),
            Some("flat") => self.without_parameters("flat", Wanted::Flat),
            Some(_) => Err(Error("algorithm is not one of graph, arroy, flat".into())),
        }
    }

    fn without_parameters(&self, algorithm: &str, wanted: Wanted) -> Result<Wanted, Error> {
        match self.parameters.keys().next() {
            None => Ok(wanted),
            Some(name) => Err(unknown(name, algorithm, "no parameters")),
        }
    }

    fn trees(&self) -> Result<TreeParameters, Error> {
        let mut wanted = TreeParameters::default();
        for (name, value) in &self.parameters {
            match name.as_str() {
                "trees" => wanted.trees = Some(whole("trees", value, (1, 256))?),
                "leaf_rows" => wanted.leaf_rows = Some(whole("leaf_rows", value, (16, 4_096))?),
                "recall" => wanted.recall = Some(recall(value)?),
                other => return Err(unknown(other, "arroy", "trees, leaf_rows, recall")),
            }
        }
        Ok(wanted)
    }

    fn graph(&self) -> Result<GraphParameters, Error> {
        let mut wanted = GraphParameters::default();
        for (name, value) in &self.parameters {
            match name.as_str() {
                "bits" => {
                    let bits = value.parse().ok();
                    let bits = bits.filter(|bits| [2, 4, 8, 32].contains(bits));
                    let wrong = || Error("`bits` must be 2, 4, 8 or 32".to_owned());
                    wanted.bits = Some(bits.ok_or_else(wrong)?);
                },
                "recall" => wanted.recall = Some(recall(value)?),
                other => return Err(unknown(other, "graph", "bits, recall")),
            }
        }
        Ok(wanted)
    }
}

fn recall(value: &str) -> Result<f32, Error> {
    let recall = value.parse().ok();
    recall
        .filter(|recall| (0.5..=0.99).contains(recall))
        .ok_or_else(|| Error("`recall` must be 0.5 to 0.99".to_owned()))
}

fn whole(name: &str, value: &str, (least, most): (u16, u16)) -> Result<u16, Error> {
    let number = value.parse().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| Error(format!("`{name}` must be {least} to {most}")))
}

fn unknown(name: &str, algorithm: &str, known: &str) -> Error {
    let name: String = name.chars().take(64).collect();
    Error(format!(
        "`{name}` is no parameter of an index with {algorithm}; {known} are known"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(algorithm: Option<&str>, parameters: &[(&str, &str)]) -> Result<Wanted, String> {
        let choice = IndexChoice {
            algorithm: algorithm.map(str::to_owned),
            parameters: parameters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        choice.wanted().map_err(|error| error.to_string())
    }

    #[test]
    fn a_choice_is_obeyed_or_refused_by_name() {
        assert_eq!(wanted(None, &[]), Ok(Wanted::Automatic));
        assert_eq!(wanted(Some("flat"), &[]), Ok(Wanted::Flat));
        let all = [("trees", "3"), ("leaf_rows", "16"), ("recall", "0.9")];
        let trees = TreeParameters {
            trees: Some(3),
            leaf_rows: Some(16),
            recall: Some(0.9),
        };
        assert_eq!(wanted(Some("Arroy"), &all), Ok(Wanted::Trees(trees)));
        let graph = GraphParameters {
            bits: Some(4),
            recall: Some(0.9),
        };
        let all = [("bits", "4"), ("recall", "0.9")];
        assert_eq!(wanted(Some("Graph"), &all), Ok(Wanted::Graph(graph)));
        for (algorithm, parameters, said) in [
            (Some("graph"), ("m", "16"), "`m` is no parameter"),
            (Some("graph"), ("bits", "3"), "`bits` must be 2, 4, 8 or 32"),
            (Some("graph"), ("recall", "1"), "`recall` must be 0.5"),
            (Some("magic"), ("m", "16"), "algorithm is not one of"),
            (Some("flat"), ("trees", "3"), "`trees` is no parameter"),
            (None, ("trees", "3"), "`trees` is no parameter"),
            (Some("arroy"), ("m", "3"), "`m` is no parameter"),
            (Some("arroy"), ("trees", "0"), "`trees` must be 1 to 256"),
            (Some("arroy"), ("trees", "2.5"), "`trees` must be 1 to 256"),
            (Some("arroy"), ("leaf_rows", "15"), "`leaf_rows` must be 16"),
            (Some("arroy"), ("recall", "NaN"), "`recall` must be 0.5"),
        ] {
            let error = wanted(algorithm, &[parameters]).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
