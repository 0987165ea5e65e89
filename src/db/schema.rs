//! The tables, in column types that SQLite and PostgreSQL share. `migrations/` defines them in each
//! dialect.

diesel::table! {
    clients (client_id) {
        client_id -> Text,
        name -> Text,
        enabled -> Bool,
        scope -> Text,
        default_scope -> Nullable<Text>,
        audiences -> Text,
        serves -> Text,
        auth_methods -> Text,
        ttl_seconds -> Nullable<BigInt>,
        alg -> Nullable<Text>,
        created_at_ms -> BigInt,
        updated_at_ms -> BigInt,
        default_audience -> Nullable<Text>,
        claims -> Nullable<Text>,
        scope_claim -> Nullable<Text>,
        typ -> Nullable<Text>,
    }
}

diesel::table! {
    // A part of the clients, so that a query of clients does not read it.
    #[sql_name = "clients"]
    client_labels (client_id) {
        client_id -> Text,
        labels -> Nullable<Text>,
    }
}

diesel::table! {
    deployment (id) {
        id -> BigInt,
        secret -> Binary,
        created_at_ms -> BigInt,
    }
}

diesel::table! {
    secrets (secret_id) {
        secret_id -> Text,
        client_id -> Text,
        hash -> Text,
        created_at_ms -> BigInt,
        expires_at_ms -> Nullable<BigInt>,
        last_used_at_ms -> Nullable<BigInt>,
    }
}

diesel::table! {
    tokens (jti) {
        jti -> Text,
        client_id -> Text,
        scope -> Text,
        audience -> Text,
        issued_at -> BigInt,
        expires_at -> BigInt,
        one_time -> Bool,
        secret_id -> Nullable<Text>,
        client_ip -> Nullable<Text>,
    }
}

diesel::table! {
    signing_keys (kid) {
        kid -> Text,
        alg -> Text,
        private_key -> Binary,
        sealed -> Bool,
        created_at_ms -> BigInt,
        activates_at_ms -> BigInt,
        retires_at_ms -> Nullable<BigInt>,
        attestation -> Nullable<Binary>,
    }
}

diesel::table! {
    routes (id) {
        id -> Text,
        method -> Nullable<Text>,
        host -> Nullable<Text>,
        path -> Text,
        scope -> Text,
        audience -> Nullable<Text>,
        created_at_ms -> BigInt,
        public -> Bool,
    }
}

diesel::table! {
    changes (seq) {
        seq -> BigInt,
        kind -> Text,
        subject -> Text,
        at_ms -> BigInt,
    }
}

diesel::table! {
    revocations (jti) {
        jti -> Text,
        expires_at -> BigInt,
        revoked_at_ms -> BigInt,
    }
}

diesel::table! {
    redemptions (jti) {
        jti -> Text,
        expires_at -> BigInt,
        redeemed_at_ms -> BigInt,
    }
}

diesel::table! {
    not_before (client_id) {
        client_id -> Text,
        not_before_ms -> BigInt,
    }
}

diesel::table! {
    audit (id) {
        id -> BigInt,
        at_ms -> BigInt,
        who -> Text,
        origin -> Text,
        action -> Text,
        subject -> Text,
        detail -> Text,
        kind -> Nullable<Text>,
        context -> Nullable<Text>,
        hash -> Nullable<Binary>,
    }
}
