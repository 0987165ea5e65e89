//! Every bound on what a client, an operator or a token may hold, in one place, because they depend
//! on one another: what may be stored must fit into a token request, and an issued token must fit
//! wherever it has to be presented. The assertions at the end fail the build if one is changed
//! alone.
//!
//! Sizes are in bytes unless the name or the comment says otherwise.

/// Maximum length of a client id (RFC 6749 App. A.1).
pub const MAX_CLIENT_ID: usize = 128;

/// Maximum length of a client's display name, in characters.
pub const MAX_NAME: usize = 200;

/// Maximum length of a secret. Imported secrets may be this long; generated ones are shorter.
pub const MAX_SECRET: usize = 1000;

/// Maximum number of scope-tokens in one scope. It bounds the cost of a comparison and is far above
/// the needs of a real client.
pub const MAX_SCOPE_TOKENS: usize = 128;

/// Maximum length of the scope of a client or a route. Every token of the client contains it.
pub const MAX_SCOPE: usize = 4000;

/// Maximum length of an audience, and of the issuer, which is one by default.
pub const MAX_AUDIENCE: usize = 512;

/// Maximum number of audiences in one list of a client.
pub const MAX_AUDIENCES: usize = 100;

/// Maximum length of one list of audiences in all. Every worker's cache holds the lists.
pub const MAX_AUDIENCES_BYTES: usize = 8000;

/// Maximum number of `resource` and `audience` parameters in one request. Each becomes an audience of
/// the token.
pub const MAX_RESOURCES: usize = 16;

/// Maximum length of the custom claims of a client, as JSON without spaces. Every token of the client
/// contains them.
pub const MAX_CUSTOM_CLAIMS: usize = 1024;

/// Maximum depth of custom claims; their own object is the first level.
pub const MAX_CUSTOM_CLAIMS_DEPTH: usize = 4;

/// Maximum number of labels of a client.
pub const MAX_LABELS: usize = 16;

/// Maximum length of the key of a label.
pub const MAX_LABEL_KEY: usize = 63;

/// Maximum length of the value of a label, in characters.
pub const MAX_LABEL_VALUE: usize = 256;

/// Maximum length of the keys and values of all labels of a client.
pub const MAX_LABELS_BYTES: usize = 4000;

/// Maximum length of a presented token. A longer token is rejected before it is decoded
/// (docs/protocol.md#p51).
pub const MAX_TOKEN: usize = 8 << 10;

/// Maximum length of an issued token. `Authorization: Bearer TOKEN` fits into a header line of
/// 8 KiB, which is what nginx and others accept by default.
pub const MAX_ISSUED_TOKEN: usize = 8000;

/// The smallest and default `server.max_body`: it holds every form that asks for a token that can
/// be issued, or presents such a token, however it is percent-encoded.
pub const MAX_FORM: usize = 32 << 10;

/// The largest `server.max_body`.
pub const MAX_BODY: usize = 16 << 20;

/// The size that a JSON document sent to `/admin` may always have, whatever `server.max_body` is:
/// that of a client whose members are all at their bounds.
pub const MAX_ADMIN_DOCUMENT: usize = 80 << 10;

/// Percent-encoding triples the length.
const ENCODED: usize = 3;

/// The names of all parameters of a form, with `=` and `&`; several `resource=` or `audience=` among
/// them.
const FORM_NAMES: usize = 100 + MAX_RESOURCES * "&resource=".len();

const FORM_CREDENTIALS: usize = ENCODED * (MAX_CLIENT_ID + MAX_SECRET);

/// The claims of the longest token. A scope and audiences that fit into a token are part of them.
const MAX_CLAIMS: usize = MAX_ISSUED_TOKEN / 4 * 3;

/// A list of audiences as JSON, with each `/`, `"` and `\` escaped, quotes and commas.
const JSON_AUDIENCES: usize = 2 * MAX_AUDIENCES_BYTES + 3 * MAX_AUDIENCES;

/// The largest client as JSON: `/` as `\/`, each character of the name as two `\u` escapes, each of
/// the custom claims as one, and those of the labels outside ASCII as escapes, which are three times
/// as long.
const JSON_CLIENT: usize = 2 * MAX_CLIENT_ID
    + 12 * MAX_NAME
    + 2 * (2 * MAX_SCOPE)
    + 2 * JSON_AUDIENCES
    + 2 * MAX_AUDIENCE
    + 6 * MAX_CUSTOM_CLAIMS
    + 3 * MAX_LABELS_BYTES
    + MAX_LABELS * "\"\":\"\",".len()
    + 1000;

/// The claims of a token with few short scopes: one audience and the issuer, the client id twice,
/// custom claims, and 400 bytes for scope, names, numbers and the token id.
const LEAST_CLAIMS: usize = 2 * MAX_AUDIENCE + MAX_AUDIENCE + 2 * (2 * MAX_CLIENT_ID) + MAX_CUSTOM_CLAIMS + 400;

const HEADER_LINE: usize = "Authorization: Bearer \r\n".len() + MAX_ISSUED_TOKEN;

const _: () = {
    assert!(MAX_ISSUED_TOKEN <= MAX_TOKEN, "what is issued can be introspected");
    assert!(HEADER_LINE <= 8 << 10, "what is issued fits into a header line");
    assert!(
        MAX_FORM >= ENCODED * MAX_CLAIMS + FORM_CREDENTIALS + FORM_NAMES,
        "a token request fits"
    );
    assert!(
        MAX_FORM >= ENCODED * MAX_ISSUED_TOKEN + FORM_CREDENTIALS + FORM_NAMES,
        "a token fits"
    );
    // An ES256 signature has 64 bytes, one with RSA 256; the header has fewer than 200.
    assert!(
        LEAST_CLAIMS + 256 + 200 <= MAX_CLAIMS,
        "a client with the largest custom claims gets a token"
    );
    assert!(MAX_ADMIN_DOCUMENT >= JSON_CLIENT, "the largest client fits");
    assert!(MAX_ADMIN_DOCUMENT <= MAX_BODY);
};
