//! Who vouches for workloads: the issuers and trust domains that the operator trusts, and the keys of each.

pub(crate) mod bundles;
pub(crate) mod issuers;
mod token_file;
pub(crate) mod token_review;

use remit_model::WorkloadIssuer;
use std::path::PathBuf;

/// What the operator trusts.
#[derive(Clone, Debug, Default)]
pub struct WorkloadTrust {
    pub issuers: Vec<WorkloadSource>,
    pub domains: Vec<TrustDomain>,
}

/// An issuer and where its keys are.
#[derive(Clone, Debug)]
pub struct WorkloadSource {
    /// What its tokens must be like.
    pub rules: WorkloadIssuer,
    /// Where its keys are; its discovery document says so if this does not.
    pub jwks_uri: Option<String>,
    /// The base URL of a Kubernetes API server that is asked about each token.
    pub token_review: Option<String>,
    /// A bearer token for the issuer's endpoints, read anew for each request.
    pub token_file: Option<PathBuf>,
}

/// A SPIFFE trust domain and where its bundle is.
#[derive(Clone, Debug)]
pub struct TrustDomain {
    pub name: String,
    pub bundle: BundleSource,
    /// Longest time that a JWT-SVID may have left, in seconds.
    pub max_lifetime: i64,
    /// How long the last good bundle is used while there is no newer one, in seconds.
    pub max_stale: i64,
}

/// Where a trust bundle comes from.
#[derive(Clone, Debug)]
pub enum BundleSource {
    /// A bundle endpoint with a certificate of the Web PKI (`https_web`).
    Url(String),
    /// A file that another program keeps current.
    File(PathBuf),
}
