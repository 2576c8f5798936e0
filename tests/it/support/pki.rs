//! Authorities and certificates for tests.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

/// An authority of certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, PEM.
    pub(crate) pem: String,
}

/// What stands in a certificate beside its names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Validity {
    /// It is valid now.
    Now,
    /// Its time is over.
    Over,
}

impl Authority {
    /// An authority of this name.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A certificate for these names or addresses, and its key, PEM.
    pub(crate) fn issue(&self, names: &[&str], validity: Validity) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2090, 1, 1);
        if validity == Validity::Over {
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Lays a certificate for these names into a folder, with the authorities that it trusts. Each file
    /// is replaced at once, as a mounted Secret's are.
    pub(crate) fn lay(&self, folder: &Path, names: &[&str], trusted: &[&Self]) {
        let (certificate, key) = self.issue(names, Validity::Now);
        let authorities: String = trusted
            .iter()
            .map(|authority| authority.pem.as_str())
            .collect();
        fs_err::create_dir_all(folder).unwrap();
        for (name, text) in [
            ("tls.crt", certificate),
            ("tls.key", key),
            ("ca.crt", authorities),
        ] {
            let draft = folder.join(format!("{name}.draft"));
            fs_err::write(&draft, text).unwrap();
            fs_err::rename(&draft, folder.join(name)).unwrap();
        }
    }
}
