//! The protobuf messages of functions, by hand: field numbers are those of Envoy's `source/extensions/common/wasm/ext`.
//!
//! Strings of Envoy that are only ever bytes here are bytes, which is the same on the wire. Fields that have no effect
//! here are left out, and skipped where they come.

use prost::Message;

/// Arguments of `verify_signature`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct VerifySignatureArguments {
    #[prost(string, tag = "1")]
    pub(super) hash_function: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) public_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) text: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) public_key_pem: Vec<u8>,
}

/// Result of `verify_signature`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct VerifySignatureResult {
    #[prost(bool, tag = "1")]
    pub(super) result: bool,
    #[prost(string, tag = "2")]
    pub(super) error: String,
}

/// Arguments of `sign`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SignArguments {
    #[prost(string, tag = "1")]
    pub(super) hash_function: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) private_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) text: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) private_key_pem: Vec<u8>,
}

/// Result of `sign`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SignResult {
    #[prost(bool, tag = "1")]
    pub(super) result: bool,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) signature: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) error: String,
}

/// Arguments of `declare_property`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DeclarePropertyArguments {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) name: Vec<u8>,
    #[prost(bool, tag = "2")]
    pub(super) readonly: bool,
}

/// Arguments of `set_envoy_filter_state`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SetEnvoyFilterStateArguments {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) path: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// Arguments of `tollgate.jwt_verify`; its own, so nobody else's numbers.
#[derive(Clone, PartialEq, Message)]
pub(super) struct JwtVerifyArguments {
    /// The token in its compact form.
    #[prost(string, tag = "1")]
    pub(super) token: String,
    /// Key of HS256, HS384 and HS512.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) secret: Vec<u8>,
    /// A public key in PEM.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) public_key_pem: Vec<u8>,
    /// A JSON Web Key, or a set of them.
    #[prost(bytes = "vec", tag = "4")]
    pub(super) jwks: Vec<u8>,
    /// Where not empty, `iss` is one of these.
    #[prost(string, repeated, tag = "5")]
    pub(super) issuers: Vec<String>,
    /// Where not empty, `aud` names one of these.
    #[prost(string, repeated, tag = "6")]
    pub(super) audiences: Vec<String>,
    /// Where not empty, `alg` is one of these.
    #[prost(string, repeated, tag = "7")]
    pub(super) algorithms: Vec<String>,
    /// Takes a token without `exp`, which never expires.
    #[prost(bool, tag = "8")]
    pub(super) without_expiry: bool,
}

/// Result of `tollgate.jwt_verify`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct JwtVerifyResult {
    #[prost(bool, tag = "1")]
    pub(super) result: bool,
    /// Why the token is not accepted, in words.
    #[prost(string, tag = "2")]
    pub(super) error: String,
    /// The claims: JSON, as the token carries them. Empty for a token that is not accepted.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) claims: Vec<u8>,
}
