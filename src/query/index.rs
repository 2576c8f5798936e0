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

/// Why a choice cannot be obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A kind that is known and not built.
    #[error("index `{0}` is not built yet")]
    NotBuilt(&'static str),
    /// It can never be obeyed.
    #[error("{0}")]
    Wrong(String),
}

impl IndexChoice {
    /// What is asked for, checked.
    ///
    /// # Errors
    /// [`Error`], which names the algorithm or the parameter.
    pub fn wanted(&self) -> Result<Wanted, Error> {
        let algorithm = self.algorithm.as_deref().map(str::to_ascii_lowercase);
        match algorithm.as_deref() {
            Some("arroy") => Ok(Wanted::Trees(self.trees()?)),
            Some("graph") => Err(Error::NotBuilt("graph")),
            None => self.without_parameters("no algorithm", Wanted::Automatic),
            Some("flat") => self.without_parameters("flat", Wanted::Flat),
            Some(_) => Err(Error::Wrong("algorithm is not one of arroy, flat".into())),
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
                "recall" => {
                    let recall = value.parse().ok();
                    let recall = recall.filter(|recall| (0.5..=0.99).contains(recall));
                    wanted.recall =
                        Some(recall.ok_or_else(|| {
                            Error::Wrong("`recall` must be 0.5 to 0.99".to_owned())
                        })?);
                },
                other => return Err(unknown(other, "arroy", "trees, leaf_rows, recall")),
            }
        }
        Ok(wanted)
    }
}

fn whole(name: &str, value: &str, (least, most): (u16, u16)) -> Result<u16, Error> {
    let number = value.parse().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| Error::Wrong(format!("`{name}` must be {least} to {most}")))
}

fn unknown(name: &str, algorithm: &str, known: &str) -> Error {
    let name: String = name.chars().take(64).collect();
    Error::Wrong(format!(
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
        for (algorithm, parameters, said) in [
            (Some("graph"), ("m", "16"), "`graph` is not built yet"),
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
