//! Why a record breaks the chain of custody. The texts are what the report and `verify.py` say.

use crate::side_values::UnusableSide;
use remit_model::{Refusal, UnixTime};
use thiserror::Error;

/// Why a record breaks the chain of custody.
#[derive(Debug, Error)]
pub(super) enum CustodyError {
    // Keys and values that cannot be used.
    #[error("the issuer's keys cannot be read: {0}")]
    IssuerKeys(Refusal),
    #[error("the end of a key of the issuer is no time")]
    IssuerKeyEnd,
    #[error("the agent's keys cannot be read: {0}")]
    AgentKeys(Refusal),
    #[error("the agent's credentials cannot be read: {0}")]
    AgentClient(serde_json::Error),
    #[error("the key that verified the agent's credential is not with its record")]
    NoCredentialKey,
    #[error("the agent is not registered with the credential that the record names")]
    OtherCredential,
    #[error("the agent's certificate cannot be read")]
    CertificateUnreadable,
    #[error("the agent's certificate was not valid")]
    CertificateNotValid,
    #[error("the token is bound to another certificate than the one that the agent showed")]
    OtherCertificate,
    #[error("the key that verified the token of another issuer is not with its record")]
    NoForeignKey,
    #[error("what was committed of a token of another issuer cannot be read: {0}")]
    Subject(serde_json::Error),
    #[error("the key of another issuer cannot be read: {0}")]
    ForeignKey(Refusal),
    #[error("the key {thumbprint} is not among those that are pinned for `{issuer}`")]
    NotPinned { issuer: String, thumbprint: String },
    #[error("what is stated or committed of the sign-in is no object")]
    SignInNoObject,
    #[error("what is stated or committed of the sign-in cannot be read: {0}")]
    SignIn(serde_json::Error),
    #[error("the record states a sign-in, and does not commit to the ID token of the provider")]
    NoSignIn,
    #[error("the record commits to a sign-in that it does not state")]
    SignInUnstated,
    #[error("the committed ID token of the provider is not the one that the record states")]
    OtherSignIn,
    #[error("another person signed in at the provider")]
    SignInOfAnother,
    #[error("the token states another authentication than the provider")]
    OtherAuthentication,
    #[error("the person signed in for the request of another agent")]
    AskedByAnother,
    #[error("the person signed in for a request with another {0}")]
    AskedForOther(&'static str),
    #[error("the assertion was made for another client than the delegate")]
    OtherClient,
    #[error("the delegation ends at {delegation}, the token that it rests on at {token}")]
    OutlivesForeign { token: UnixTime, delegation: UnixTime },
    #[error("the token of another issuer is bound to a key that the delegate did not prove")]
    NoHolder,
    #[error("`may_act` of a token cannot be read: {0}")]
    Restrictions(Refusal),
    #[error("its parent token lets another party act (`may_act`)")]
    NotAdmitted,
    #[error("its parent token was for one exchange, and an earlier record exchanged it")]
    ExchangedTwice,
    #[error("the log has no registration of the agent's keys")]
    Unregistered,
    #[error("the log states no keys for the signer")]
    NoIssuerKeys,
    #[error("no earlier record states the delegator's key")]
    NoDelegatorKey,
    #[error("the chain cannot be read: {0}")]
    Chain(serde_json::Error),
    #[error("the token's claims cannot be read: {0}")]
    Claims(serde_json::Error),
    #[error(transparent)]
    Side(#[from] UnusableSide),
    // One signature.
    #[error("{0}")]
    Signature(Refusal),
    #[error("the ID token is about another person")]
    OtherPerson,
    #[error("the person agreed to something else than was delegated")]
    OtherConsent,
    #[error("the ID token was signed for another delegation")]
    OtherDelegation,
    #[error("the delegator's proof is not for the token endpoint")]
    NotTokenEndpoint,
    #[error("the statement is by another delegator")]
    OtherDelegator,
    #[error("the delegator's proof is not of a call to the delegate's endpoint")]
    NotCall,
    #[error("the delegator's proof covers no token")]
    NoToken,
    #[error("the delegator's proof covers another token than the one exchanged")]
    OtherToken,
    #[error("a client assertion delegates nothing")]
    Assertion,
    #[error("the delegator's proof is of {proof}, the record of {record}")]
    ProofTime { proof: UnixTime, record: UnixTime },
    #[error("the delegator signed for another delegate, key or token")]
    OtherDelegate,
    #[error("the delegator signed for another purpose")]
    OtherPurpose,
    #[error("the delegator signed for an end at {signed}, not {stated}")]
    OtherEnd { signed: UnixTime, stated: UnixTime },
    #[error("`ath` is not base64url")]
    AthEncoding,
    #[error("`ath` is not a SHA-256")]
    AthLength,
    #[error("the same proof was used for an earlier token")]
    UsedTwice,
    // What a person signed.
    #[error("the passkey or what it signed cannot be read: {0}")]
    Passkey(serde_json::Error),
    #[error("the passkey was enrolled before")]
    EnrolledBefore,
    #[error("the committed passkey is not the one the record names")]
    OtherPasskey,
    #[error("no earlier record enrols the passkey that signed, or it was removed")]
    NotEnrolled,
    #[error("the passkey that signed is another person's")]
    OtherSigner,
    #[error("the issuer's address has no passkeys")]
    NoSite,
    #[error("the committed document is not the one that was signed")]
    OtherDocument,
    #[error("the committed page is not the one that was signed")]
    OtherPage,
    #[error("the same consent was signed in an earlier record")]
    SignedBefore,
    #[error("this evidence proves only what a person hands over at the root of a chain")]
    RootEvidence,
    #[error("no earlier record has the signature that the chain states")]
    NotSigned,
    #[error("the token and its chain disagree on what the person signed")]
    SignedDiffers,
    // One token and its chain.
    #[error("a part of the committed token or chain is no object")]
    NoObject,
    #[error("{bound}: {wider}")]
    Wider { bound: &'static str, wider: Refusal },
    #[error("the committed token or chain is not the one the record states")]
    NotAsStated,
    #[error("the record states another end or audience than the committed token")]
    OtherEndStated,
    #[error("the record states another parent than the committed token")]
    OtherParentStated,
    #[error("the record's chain has not the parties of the committed chain")]
    PartyCount,
    #[error("party {0} of the record's chain is not that of the committed chain")]
    OtherParty(usize),
    #[error("the edge_proof of party {0} is not the committed chain's")]
    OtherProof(usize),
    #[error("the record states another key than the committed token")]
    OtherKeyStated,
    #[error("`sub` or `act` of the token do not say what the chain says")]
    Actors,
    #[error("the token is bound to no key")]
    Unbound,
    #[error("the token is bound to no key, and the log does not say that its holder is registered so")]
    NotBearer,
    #[error("the token is bound to no key, and it or what it rests on was handed on by an agent, or can be")]
    BearerHandedOn,
    #[error("the record says that the token is bound to no key, and it is bound to one")]
    StatedUnbound,
    #[error("the token or a hop of its chain is bound to a key and to a certificate")]
    BoundTwice,
    #[error("the record states another kind of binding than the committed token has")]
    OtherBinding,
    #[error("the token is bound to a certificate, and the log does not say that its holder is registered so")]
    NotMtls,
    #[error("the delegator's token is bound to a certificate, and TLS leaves no signature that proves a hop")]
    DelegatorSignsNothing,
    #[error("the token is bound to another key than its holder's")]
    OtherHolder,
    #[error("the token ends at {token}, its delegation at {delegation}")]
    OutlivesDelegation { token: UnixTime, delegation: UnixTime },
    #[error("it ends at {token}, its parent token at {parent}")]
    OutlivesParent { token: UnixTime, parent: UnixTime },
    #[error("the delegation ends at {delegation}, its parent token at {parent}")]
    DelegationOutlivesParent { delegation: UnixTime, parent: UnixTime },
    #[error("the tokens above it are not those above its parent token")]
    OtherAncestors,
    #[error("the chain does not hold: {0}")]
    Malformed(Refusal),
    // What the log says elsewhere.
    #[error("the token was already issued in record {0}")]
    IssuedBefore(u64),
    #[error("the token it comes from was issued by no earlier record")]
    NoParent,
    #[error("the chain has hops that no earlier record delegated")]
    UnknownHops,
    #[error("its parent token is of another chain")]
    OtherChain,
    #[error("the chain is not the parent token's chain continued")]
    NotContinued,
    #[error("no earlier record made the delegation it rests on")]
    NoDelegation,
    #[error("its chain is not the one that was delegated")]
    NotDelegated,
    #[error("a token for a person without a delegation")]
    PersonAlone,
    #[error("the agent's own client assertion is not with its record")]
    NoAssertion,
    #[error("it was let through without a token")]
    UseWithoutToken,
    #[error("its token was issued by no earlier record")]
    UnissuedToken,
    #[error("its chain is not the one its token was issued to in record {0}")]
    OtherUser(u64),
    #[error("it was let through without a proof of the token's key")]
    UseWithoutProof,
    #[error("the key that was proved is not the one its token is bound to")]
    OtherKeyProved,
    #[error("it was let through, and its record does not state when that was decided")]
    UseWithoutTime,
    #[error("its token had expired")]
    Expired,
    #[error("an agent of its chain had been stopped in record {0}")]
    Stopped(u64),
    #[error("the account of its person had been disabled in record {0}")]
    Disabled(u64),
    #[error("it rests on what had been revoked in record {0}")]
    Revoked(u64),
    #[error("the sign-in that it rests on had been ended in record {0}")]
    SignInEnded(u64),
}
