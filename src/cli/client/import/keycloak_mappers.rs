//! Keycloak's protocol mappers: which of them become audiences and custom claims of a client, and
//! which cannot be carried.

use serde_json::{Map, Value};

use crate::oauth::bounds::MAX_CUSTOM_CLAIMS_DEPTH;
use crate::oauth::custom_claims::GivenClaims;

/// The number of mappers that a warning names, and the characters of a name that it shows.
const MAX_NAMED: usize = 10;
const MAX_NAME_SHOWN: usize = 60;

/// What the mappers of a client become.
#[derive(Debug, Default)]
pub struct Mapped {
    /// The audiences that the client may name.
    pub audiences: Vec<String>,
    /// The audience of a request that names none, if there is one such audience.
    pub default_audience: Option<String>,
    /// The custom claims, within their rules.
    pub claims: Option<GivenClaims>,
    object: Map<String, Value>,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

/// Reads the mappers that apply to every token of a client, and those of its optional scopes.
pub fn mapped(always: &[&Value], optional: &[&Value]) -> Mapped {
    let mut mapped = Mapped::default();
    let mut left_out = Vec::new();
    for mapper in always.iter().filter(|mapper| has_effect(mapper)) {
        let kept = match text(mapper, "protocolMapper") {
            "oidc-audience-mapper" => mapped.add_audience(mapper),
            "oidc-hardcoded-claim-mapper" => mapped.add_claim(mapper),
            _ => false,
        };
        if !kept {
            left_out.push(*mapper);
        }
    }
    if let [one] = mapped.audiences.as_slice() {
        mapped.default_audience = Some(one.clone());
    }
    for mapper in optional.iter().filter(|mapper| has_effect(mapper)) {
        // A request for the scope added the audience. Now it has to name it.
        let kept = text(mapper, "protocolMapper") == "oidc-audience-mapper" && mapped.add_audience(mapper);
        if !kept {
            left_out.push(*mapper);
        }
    }
    if mapped
        .audiences
        .iter()
        .any(|audience| Some(audience) != mapped.default_audience.as_ref())
    {
        mapped.warnings.push(
            "Keycloak added its audiences by itself, and here a token has the default one, or those that \
             the request names: set one with `mintage client update --default-audience`, or let it send `audience`"
                .to_owned(),
        );
    }
    if let Some(warning) = warning(&left_out) {
        mapped.warnings.push(warning);
    }
    mapped
}

impl Mapped {
    /// As Keycloak does, prefers the client to the custom text.
    fn add_audience(&mut self, mapper: &Value) -> bool {
        let names = ["included.client.audience", "included.custom.audience"];
        let audience = names.map(|name| config(mapper, name));
        let Some(audience) = audience.into_iter().find(|text| !text.is_empty()) else {
            return false;
        };
        if !self.audiences.iter().any(|known| known == audience) {
            self.audiences.push(audience.to_owned());
        }
        true
    }

    /// Adds a claim if all claims are then within the rules of custom claims.
    fn add_claim(&mut self, mapper: &Value) -> bool {
        let Some(value) = typed(config(mapper, "jsonType.label"), config(mapper, "claim.value")) else {
            return false;
        };
        let path = path(config(mapper, "claim.name"));
        let mut object = self.object.clone();
        if path.len() > MAX_CUSTOM_CLAIMS_DEPTH || !insert(&mut object, &path, value) {
            return false;
        }
        match serde_json::from_value::<GivenClaims>(Value::Object(object.clone())) {
            Ok(given) if given.0.is_ok() => {
                (self.claims, self.object) = (Some(given), object);
                true
            }
            _ => false,
        }
    }
}

fn text<'a>(mapper: &'a Value, name: &str) -> &'a str {
    mapper[name].as_str().unwrap_or_default()
}

fn config<'a>(mapper: &'a Value, name: &str) -> &'a str {
    mapper["config"][name].as_str().unwrap_or_default()
}

/// Whether it may add something to an access token or to its introspection response: a mapper of
/// roles, for example, has no such flag. Introspection follows the token unless it has its own.
fn has_effect(mapper: &Value) -> bool {
    let [token, introspection] = ["access.token.claim", "introspection.token.claim"].map(|name| config(mapper, name));
    let is_carried = CARRIED.contains(&text(mapper, "protocolMapper"));
    match (token, introspection) {
        ("true", _) | (_, "true") => true,
        ("false", "" | "false") => false,
        // Keycloak takes an absent flag of these two kinds for `false`.
        _ => !is_carried,
    }
}

/// The kinds of mappers that are carried.
const CARRIED: [&str; 2] = ["oidc-audience-mapper", "oidc-hardcoded-claim-mapper"];

/// A value in the type that the mapper names.
fn typed(label: &str, value: &str) -> Option<Value> {
    match label {
        "" | "String" => Some(value.into()),
        "long" | "int" => value.parse::<i64>().ok().map(Value::from),
        "boolean" => value.parse::<bool>().ok().map(Value::from),
        "JSON" => {
            // Read with its names, so that a repeated one is not dropped.
            let GivenClaims(given) = serde_json::from_str(&format!("{{\"value\":{value}}}")).ok()?;
            given.ok()?;
            serde_json::from_str(value).ok()
        }
        _ => None,
    }
}

/// The names on the way to a claim: `.` separates them unless it is escaped, as in `a\.b`.
fn path(name: &str) -> Vec<String> {
    let mut path = vec![String::new()];
    let mut characters = name.chars();
    while let Some(c) = characters.next() {
        let last = path.last_mut().expect("it has a first name");
        match c {
            '.' => path.push(String::new()),
            '\\' => last.extend(characters.next()),
            c => last.push(c),
        }
    }
    path
}

/// Inserts a claim; `false` if a name is empty or in use.
fn insert(claims: &mut Map<String, Value>, path: &[String], value: Value) -> bool {
    let [first, rest @ ..] = path else {
        return false;
    };
    if first.is_empty() {
        return false;
    }
    if rest.is_empty() {
        return claims.insert(first.clone(), value).is_none();
    }
    let inner = claims.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
    inner.as_object_mut().is_some_and(|inner| insert(inner, rest, value))
}

fn warning(left_out: &[&Value]) -> Option<String> {
    if left_out.is_empty() {
        return None;
    }
    let shown = |text: &str| text.chars().take(MAX_NAME_SHOWN).collect::<String>();
    let name = |mapper: &&Value| {
        let [name, kind] = ["name", "protocolMapper"].map(|name| shown(text(mapper, name)));
        format!("{name:?} ({kind:?})")
    };
    let names: Vec<String> = left_out.iter().take(MAX_NAMED).map(name).collect();
    let more = match left_out.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("these mappers are not imported: {}{more}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oauth::custom_claims::CustomClaims;

    fn mapper(kind: &str, config: Value) -> Value {
        let mut mapper = json!({"name": kind, "protocolMapper": kind, "config": {"access.token.claim": "true"}});
        for (name, value) in config.as_object().unwrap() {
            mapper["config"][name] = value.clone();
        }
        mapper
    }

    fn audience(config: Value) -> Value {
        mapper("oidc-audience-mapper", config)
    }

    fn claim(name: &str, label: &str, value: &str) -> Value {
        let config = json!({"claim.name": name, "jsonType.label": label, "claim.value": value});
        mapper("oidc-hardcoded-claim-mapper", config)
    }

    fn of(always: &[Value], optional: &[Value]) -> Mapped {
        mapped(&always.iter().collect::<Vec<_>>(), &optional.iter().collect::<Vec<_>>())
    }

    #[test]
    fn audience_mappers_become_audiences_and_a_single_one_the_default() {
        let one = audience(json!({"included.client.audience": "orders-api", "included.custom.audience": "x"}));
        let other = audience(json!({"included.custom.audience": "https://b.example"}));
        let mapped = of(&[one.clone(), one.clone()], std::slice::from_ref(&other));
        assert_eq!(mapped.audiences, ["orders-api", "https://b.example"]);
        assert_eq!(
            (mapped.default_audience.as_deref(), mapped.warnings.len()),
            (Some("orders-api"), 1),
            "a request for the optional scope does not add the other one any more"
        );
        let alone = of(std::slice::from_ref(&one), &[]);
        assert_eq!((alone.default_audience.is_some(), alone.warnings.len()), (true, 0));
        let several = of(&[one, other], &[]);
        assert_eq!((several.default_audience, several.warnings.len()), (None, 1));
    }

    fn claims(mapped: &Mapped) -> Option<CustomClaims> {
        mapped.claims.clone().and_then(|given| given.0.unwrap())
    }

    #[test]
    fn hard_coded_claims_keep_their_type_and_nesting() {
        let mapped = of(
            &[
                claim("tenant", "String", "t1"),
                claim("realm.level", "int", "7"),
                claim("realm.on", "boolean", "true"),
                claim("https://a\\.example/x", "JSON", r#"{"y":[1]}"#),
            ],
            &[],
        );
        let expected = json!({"tenant": "t1", "realm": {"level": 7, "on": true}, "https://a.example/x": {"y": [1]}});
        assert_eq!(
            (serde_json::to_value(claims(&mapped)).unwrap(), mapped.warnings.len()),
            (expected, 0)
        );
    }

    #[test]
    fn what_cannot_be_carried_is_named() {
        let mut without_effect = claim("a", "String", "b");
        without_effect["config"]["access.token.claim"] = "false".into();
        for (mapper, reads) in [
            (claim("aud", "String", "x"), "oidc-hardcoded-claim-mapper"),
            (claim("a", "int", "x"), "oidc-hardcoded-claim-mapper"),
            (claim("a", "JSON", r#"{"b":1,"b":2}"#), "oidc-hardcoded-claim-mapper"),
            (claim("", "String", "x"), "oidc-hardcoded-claim-mapper"),
            (
                claim(&"a.".repeat(1_000_000), "String", "x"),
                "oidc-hardcoded-claim-mapper",
            ),
            (
                json!({"name": "n", "protocolMapper": "oidc-hardcoded-role-mapper", "config": {"role": "x"}}),
                "role",
            ),
            (
                json!({"name": "n", "protocolMapper": "oidc-audience-resolve-mapper"}),
                "resolve",
            ),
            (mapper(&"k".repeat(1_000_000), json!({})), "kkkk"),
            (audience(json!({})), "oidc-audience-mapper"),
            (mapper("oidc-usermodel-attribute-mapper", json!({})), "attribute"),
        ] {
            let mapped = of(&[without_effect.clone(), mapper], &[]);
            assert!(mapped.claims.is_none() && mapped.audiences.is_empty());
            assert_eq!(mapped.warnings.len(), 1);
            assert!(mapped.warnings[0].len() < 1000);
            assert!(mapped.warnings[0].contains(reads), "{:?}", mapped.warnings);
        }
        assert_eq!(of(&[without_effect], &[]).warnings.len(), 0);
        // A claim that came and went with a scope cannot do so here.
        let mapped = of(&[], &vec![claim("a", "String", "b"); 12]);
        assert!(mapped.claims.is_none() && mapped.warnings[0].ends_with(" and 2 more"));
    }
}
